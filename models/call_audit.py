"""Calls for the audit: each one that was refused, and each sensitive one before it leaves.

They are plain rows, many a second if need be; once a second the new ones are sealed: a line of the
audit holds their number and the hash of all of them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import orjson
from sqlalchemy import BigInteger, Column, Index, Text, text
from sqlmodel import Field, SQLModel

from models.audit import Act, BrokenChain, append
from models.columns import plain, when, word
from models.database import hot
from models.guard import Guard


class CallAudit(SQLModel, table=True):
    __tablename__ = "call_audit"

    id: UUID = Field(primary_key=True)
    at: datetime | None = when(nullable=False, default="now()")
    run_id: UUID
    tenant: str = Field(sa_type=Text)
    step: str = Field(sa_type=Text)
    tool: str = Field(sa_type=Text)
    guard: Guard = Field(sa_type=word(Guard))
    reason: str = Field(sa_type=Text)
    """The stop reason, or what the run waits for."""
    told: str = Field(sa_type=Text)
    args_hash: bytes
    policy: str = Field(sa_type=Text)
    """The revision that decided."""
    sealed: int | None = Field(default=None, sa_column=Column(BigInteger))
    """The line of the audit that seals it."""

    __table_args__ = (
        Index("call_audit_unsealed", "id", postgresql_where=text("sealed IS NULL")),
        Index("call_audit_sealed", "sealed", "id"),
        Index("call_audit_of_run", "run_id"),
    )


@dataclass(frozen=True, slots=True)
class Remark:
    """What is to be said of a call."""

    run_id: UUID
    tenant: str
    step: str
    tool: str
    guard: Guard
    reason: str
    told: str
    args_hash: bytes
    policy: str

    @property
    def id(self) -> UUID:
        """The same for the same remark: a run that comes back to a refused step says it once."""
        return uuid5(self.run_id, f"{self.step}\0{self.guard}\0{self.reason}")


_NOTE = """
    WITH m AS (
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[],
                             $7::text[], $8::text[], $9::bytea[], $10::text[])
            AS m(id, run_id, tenant, step, tool, guard, reason, told, args_hash, policy)),
    noted AS (
        INSERT INTO call_audit (id, run_id, tenant, step, tool, guard, reason, told, args_hash,
                                policy)
        SELECT DISTINCT ON (id) * FROM m ORDER BY id
        ON CONFLICT (id) DO NOTHING RETURNING guard)
    INSERT INTO guard AS g (name, refused, last_at)
    SELECT guard, count(*), now() FROM noted GROUP BY guard ORDER BY guard
    ON CONFLICT (name) DO UPDATE
       SET refused = g.refused + EXCLUDED.refused, last_at = EXCLUDED.last_at
"""

_LEFT = "SELECT EXISTS (SELECT FROM call_audit WHERE sealed IS NULL)"
_COLUMNS = "id, at, run_id, tenant, step, tool, guard, reason, told, args_hash, policy"
_UNSEALED = f"""
    SELECT {_COLUMNS} FROM call_audit WHERE sealed IS NULL
     ORDER BY id LIMIT 5000 FOR UPDATE SKIP LOCKED
"""  # noqa: S608  # constants
_SEAL = "UPDATE call_audit SET sealed = $1 WHERE id = ANY($2::uuid[])"
_SEALED = f"SELECT {_COLUMNS} FROM call_audit WHERE sealed = $1 ORDER BY id"  # noqa: S608  # constants
_OF_RUN = f"SELECT {_COLUMNS}, sealed FROM call_audit WHERE run_id = $1 ORDER BY at, id"  # noqa: S608  # constants


async def note(remarks: Sequence[Remark]) -> list[None]:
    """Write down, in one statement, what was refused or is about to leave; a repeat is one row."""
    rows = [(each.id, *map(_kept, astuple(each))) for each in remarks]
    await hot().execute(_NOTE, *[list(column) for column in zip(*rows, strict=True)])
    return [None] * len(remarks)


def _kept(told: Any) -> Any:
    return plain(told) if type(told) is str else told


async def seal() -> int:
    """Put a line under what is new since the last one; return how many calls that were."""
    if not await hot().fetchval(_LEFT):
        return 0
    async with hot().acquire() as connection, connection.transaction():
        rows = await connection.fetch(_UNSEALED)
        if rows:
            about = {"calls": len(rows), "sha256": _digest(rows)}
            line = await append(connection, who="sluice", act=Act.CALLS, about=about)
            await connection.execute(_SEAL, line.seq, [row["id"] for row in rows])
        return len(rows)


async def check(seq: int, about: str) -> None:
    """Hold a line of the audit against the calls that it seals.

    Raises:
        BrokenChain: One of them was changed, or taken out.
    """
    rows, told = await hot().fetch(_SEALED, seq), orjson.loads(about)
    if len(rows) != told["calls"] or _digest(rows) != told["sha256"]:
        raise BrokenChain(
            f"line {seq} seals {told['calls']} calls, and they are not what was written"
        )


async def of_run(run: UUID) -> list[Any]:
    """What the guards said of one run's calls, in the order it was said."""
    rows: list[Any] = await hot().fetch(_OF_RUN, run)
    return rows


def _digest(rows: Sequence[Any]) -> str:
    whole = hashlib.sha256()
    for row in rows:
        at = row["at"].astimezone(UTC).isoformat(timespec="microseconds")
        told = [str(row["id"]), at, str(row["run_id"]), *row[3:9], row["args_hash"].hex(), row[10]]
        whole.update(orjson.dumps(told) + b"\n")
    return whole.hexdigest()
