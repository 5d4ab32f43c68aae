"""Autonomy: how much a pipeline may do by itself for one tenant."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy import Text
from sqlmodel import Field, SQLModel

from config.policy_autonomy import Independence
from models import audit
from models.columns import when, word
from models.database import hot
from models.shadow import PIPELINE as TRIALS

log = structlog.get_logger()

EVERYBODY = "*"
"""In place of a tenant's name, which never looks so: all of them."""
DISPOSES = "execute-proposal"
"""The pipeline that makes a call which a person has allowed. Levels say what may be done that
nobody has allowed, so they do not hold for it: it would propose for ever."""


class Autonomy(StrEnum):
    """Each allows what those before it allow."""

    OBSERVE = "observe"  # reads; what it would write is proposed
    REVERSIBLE = "reversible"  # and writes that can be taken back
    ACT = "act"  # and every write that the policy allows

    @property
    def rank(self) -> int:
        """The higher, the more is allowed."""
        return list(Autonomy).index(self)


class AutonomyRow(SQLModel, table=True):
    """The level that somebody has set. Without a row it is the policy's `autonomy.initial`."""

    __tablename__ = "autonomy"

    tenant: str = Field(primary_key=True, sa_type=Text)
    """Or `*`: whatever a tenant's own row says, nothing goes beyond this one."""
    pipeline: str = Field(primary_key=True, sa_type=Text)
    level: Autonomy = Field(sa_type=word(Autonomy))
    who: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    set_at: datetime | None = when(nullable=False, default="now()")


Scopes = Mapping[tuple[str, str], Autonomy]
"""Levels by tenant and pipeline."""


def lowest(*levels: Autonomy) -> Autonomy:
    return min(levels, key=lambda each: each.rank)


def standing(levels: Scopes, tenant: str, pipeline: str, initial: Autonomy) -> Autonomy:
    """The level that was set: the tenant's or everybody's, whichever is lower."""
    keys = ((tenant, pipeline), (EVERYBODY, pipeline))
    return lowest(*([levels[each] for each in keys if each in levels] or [initial]))


def holds(levels: Scopes, tenant: str, pipeline: str, said: Independence) -> Autonomy:
    """What a pipeline may do for a tenant: what stands, but no more than the policy lets it."""
    if pipeline == DISPOSES:
        return Autonomy.ACT
    stands = standing(levels, tenant, pipeline, Autonomy(said.initial))
    return lowest(Autonomy(said.level), stands)


LOWER = """
    CASE WHEN 'observe' IN (run.level, m.level) THEN 'observe'
         WHEN 'reversible' IN (run.level, m.level) THEN 'reversible'
         ELSE m.level END
"""
"""Of a run's attempts so far and the one that ends now: what it has written rests on all."""

LOOK = "SELECT tenant, pipeline, level FROM autonomy"
_ALL = "SELECT * FROM autonomy ORDER BY pipeline, tenant <> '*', tenant"
_PIPELINES = "SELECT DISTINCT name FROM contract WHERE name NOT IN ($1, $2) ORDER BY name"
_IN_TURN = "SELECT pg_advisory_xact_lock(hashtextextended('sluice.autonomy', 0))"
_PUT = """
    WITH put AS (
        INSERT INTO autonomy (tenant, pipeline, level, who, reason, set_at)
        VALUES ($1, $2, $3, $4, $5, clock_timestamp())
        ON CONFLICT (tenant, pipeline) DO UPDATE
           SET level = EXCLUDED.level, who = EXCLUDED.who, reason = EXCLUDED.reason,
               set_at = EXCLUDED.set_at
     RETURNING 1)
    SELECT pg_notify('sluice_gate', 'autonomy') FROM put
"""
"""The notice only makes workers look at once, at the gate and at this."""


@asynccontextmanager
async def in_turn() -> AsyncIterator[Any]:
    """A transaction in which levels may be read, judged and put: one after the other, so that
    nobody raises what somebody else has just lowered."""
    async with hot().acquire() as connection, connection.transaction():
        await connection.execute(_IN_TURN)
        yield connection


async def rows(connection: Any = None) -> list[Any]:
    """Every level that was set, everybody's before the tenants' own."""
    found: list[Any] = await (connection or hot()).fetch(_ALL)
    return found


async def pipelines() -> list[str]:
    """The names of those that levels hold for."""
    return [row[0] for row in await hot().fetch(_PIPELINES, DISPOSES, TRIALS)]


def by_scope(found: list[Any]) -> Scopes:
    """Rows as they are looked up."""
    return {(row["tenant"], row["pipeline"]): Autonomy(row["level"]) for row in found}


async def put(
    connection: Any,
    tenant: str,
    pipeline: str,
    level: Autonomy,
    *,
    who: str,
    reason: str,
    **about: Any,
) -> None:
    """Set a level and write its line in the audit, in the caller's turn: both or none."""
    told = {"tenant": tenant, "pipeline": pipeline, "level": level, "reason": reason} | about
    await connection.execute(_PUT, tenant, pipeline, level, who, reason)
    await audit.append(connection, who=who, act=audit.Act.AUTONOMY, about=told)
    log.warning("autonomy.set", who=who, to=level, tenant=tenant, pipeline=pipeline, reason=reason)
