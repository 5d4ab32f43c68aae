"""A contract: a pipeline as clients see it, published by the workers that run it."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jsonschema_rs
import orjson
from sqlalchemy import JSON, Column, Text
from sqlmodel import Field, SQLModel

from models.columns import when
from models.database import hot

WORKER_LIVES_S = 30
"""A worker not seen for this long no longer decides which version new runs get."""
_FRESH_S = 1.0


class Contract(SQLModel, table=True):
    """Rows are added by workers at start; an old version stays for the runs that still drain."""

    name: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(primary_key=True)
    input_schema: Any = Field(sa_column=Column(JSON, nullable=False))
    result_schema: Any = Field(sa_column=Column(JSON, nullable=False))
    budget: Any = Field(sa_column=Column(JSON, nullable=False))
    tools: Any = Field(sa_column=Column(JSON, nullable=False, server_default="[]"))
    """The names of the tools it declares."""
    published_at: datetime | None = when(nullable=False, default="now()")


@dataclass(frozen=True, slots=True)
class Offer:
    """The version of a pipeline that new runs get, with its input check compiled."""

    name: str
    version: int
    budget: bytes
    check: jsonschema_rs.Validator


_OFFERS = """
    SELECT DISTINCT ON (c.name) c.name, c.version, c.input_schema, c.budget
      FROM contract c
      LEFT JOIN worker w
        ON w.last_seen > now() - make_interval(secs => $1)
       AND w.runs::jsonb @> jsonb_build_array(jsonb_build_array(c.name, c.version))
     ORDER BY c.name, (w.id IS NOT NULL) DESC, c.version DESC
"""
"""The newest version that a living worker runs; without one, the newest ever published."""

_PUBLISH = """
    INSERT INTO contract (name, version, input_schema, result_schema, budget, tools)
    SELECT * FROM unnest($1::text[], $2::int[], $3::json[], $4::json[], $5::json[], $6::json[])
     ORDER BY 1, 2
    ON CONFLICT (name, version) DO UPDATE
       SET input_schema = EXCLUDED.input_schema, result_schema = EXCLUDED.result_schema,
           budget = EXCLUDED.budget, tools = EXCLUDED.tools, published_at = now()
"""


class Offers:
    """This process's copy of what may be asked for; a second old at most."""

    def __init__(self) -> None:
        self._known: dict[str, Offer] = {}
        self._texts: dict[tuple[str, int], tuple[bytes, bytes]] = {}
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def find(self, name: str) -> Offer | None:
        """The offer of this name, or None when no worker ever published it."""
        if time.monotonic() - self._read_at > _FRESH_S or name not in self._known:
            # One look for everybody who found it stale at the same time.
            if self._reading is None:
                self._reading = asyncio.create_task(self._read())
            await asyncio.shield(self._reading)
        return self._known.get(name)

    def names(self) -> list[str]:
        return sorted(self._known)

    async def _read(self) -> None:
        try:
            read_at = time.monotonic()
            rows = await hot().fetch(_OFFERS, float(WORKER_LIVES_S))
            self._known = {row["name"]: self._offer(row) for row in rows}
            self._read_at = read_at
        finally:
            self._reading = None

    def _offer(self, row: Any) -> Offer:
        known = self._known.get(row["name"])
        version, texts = (row["name"], row["version"]), (row["input_schema"], row["budget"])
        if known and known.version == row["version"] and self._texts.get(version) == texts:
            return known
        self._texts[version] = texts
        check = jsonschema_rs.validator_for(orjson.loads(row["input_schema"]))
        return Offer(row["name"], row["version"], row["budget"], check)


async def publish(contracts: Iterable[Contract]) -> None:
    """Tell every face of the fleet which pipelines this worker runs, and what they take."""
    rows = list(contracts)
    await hot().execute(
        _PUBLISH,
        [row.name for row in rows],
        [row.version for row in rows],
        [orjson.dumps(row.input_schema) for row in rows],
        [orjson.dumps(row.result_schema) for row in rows],
        [orjson.dumps(row.budget) for row in rows],
        [orjson.dumps(row.tools) for row in rows],
    )
