"""A breaker: whether a tool may be used just now, and what an operator has said about that."""

from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import structlog
from sqlalchemy import BigInteger, Column, Text
from sqlmodel import Field, SQLModel

from models import audit
from models.columns import when, word
from models.database import hot
from models.scope import known, readable

log = structlog.get_logger()

_WHO = "sluice"


class BreakerState(StrEnum):
    """Whether calls may start."""

    CLOSED = "closed"  # they may
    OPEN = "open"  # none, until its time is up  -> half_open
    HALF_OPEN = "half_open"  # a few, to see whether the tool is well  -> closed, open


class Breaker(SQLModel, table=True):
    """One row for each tool whose breaker was ever open. Redis has the latest; this outlives it."""

    tool: str = Field(primary_key=True, sa_type=Text)
    state: BreakerState = Field(sa_type=word(BreakerState))
    epoch: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    """It grows with each change: of two stories the later one is true."""
    openings: int = 0
    """How often in a row it was opened."""
    since: datetime | None = when(nullable=False, default="now()")
    until: datetime | None = when()
    told: str = Field(default="", sa_type=Text)
    """What was seen when it last changed by itself."""
    forced: BreakerState | None = Field(default=None, sa_type=word(BreakerState))
    """Open or closed, whatever is seen, until an operator says `auto`."""
    who: str = Field(default="", sa_type=Text)
    reason: str = Field(default="", sa_type=Text)
    """The operator's last word."""


class Change(NamedTuple):
    """A breaker as somebody saw it, or has just changed it."""

    tool: str
    state: BreakerState
    epoch: int
    openings: int
    left_s: float
    """Open: for how long yet."""
    told: str = ""
    forced: BreakerState | None = None


_NOTE = """
    INSERT INTO breaker AS b (tool, state, epoch, openings, until, told)
    VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5), $6)
    ON CONFLICT (tool) DO UPDATE
       SET state = EXCLUDED.state, epoch = EXCLUDED.epoch, openings = EXCLUDED.openings,
           since = CASE WHEN b.state = 'closed' OR EXCLUDED.state = 'closed' THEN now()
                   ELSE b.since END,
           until = EXCLUDED.until, told = EXCLUDED.told
     WHERE b.epoch < EXCLUDED.epoch
 RETURNING tool
"""
"""Whoever comes late with an earlier story changes nothing."""

_FORCE = """
    INSERT INTO breaker AS b (tool, state, forced, who, reason)
    VALUES ($1, 'closed', $2, $3, $4)
    ON CONFLICT (tool) DO UPDATE
       SET forced = EXCLUDED.forced, who = EXCLUDED.who, reason = EXCLUDED.reason
"""

_LET_GO = """
    WITH parked AS (
        SELECT id, row_number() OVER (ORDER BY id) AS place FROM (
            SELECT id FROM run
             WHERE status = 'queued' AND waiting_for = 'breaker' AND dispatch_at > now()
             ORDER BY id FOR NO KEY UPDATE SKIP LOCKED) AS locked)
    UPDATE run
       SET dispatch_at = least(dispatch_at,
                               now() + make_interval(secs => ln(parked.place / 16.0 + 1) / ln(2)))
      FROM parked WHERE run.id = parked.id
"""
"""Sixteen within the first second, then twice as many in each. It does not say whose breaker they
wait for: those of another one meet it again, and wait on."""

_SEE = """
    SELECT tool, state, epoch, openings,
           greatest(extract(epoch FROM until - now()), 0)::float AS left_s, told, forced
      FROM breaker
"""
_COUNT = "SELECT count(*) FROM worker WHERE last_seen > now() - interval '10 s'"


async def note(change: Change) -> None:
    """Keep what a breaker has become; a closed one lets go what waited, in growing cohorts."""
    async with hot().acquire() as connection, connection.transaction():
        kept = await connection.fetchrow(_NOTE, *change[:4], max(change.left_s, 0.0), change.told)
        if kept is None:
            return
        opened = change.state is BreakerState.OPEN and change.openings == 1
        if opened or change.state is BreakerState.CLOSED:
            about = {"tool": change.tool, "state": change.state, "reason": change.told}
            await audit.append(connection, who=_WHO, act=audit.Act.BREAKER, about=about)
        if change.state is BreakerState.CLOSED:
            await connection.execute(_LET_GO)


async def force(tool: str, state: BreakerState | None, *, who: str, reason: str) -> None:
    """Hold a breaker open or closed, whatever is seen; None gives it back to itself.

    Workers hear of it within a second or two.

    Raises:
        ValueError: There is no such tool, or no reason.
    """
    readable(tool, reason)
    if not await hot().fetchval("SELECT EXISTS (SELECT FROM breaker WHERE tool = $1)", tool):
        await known(f"tool:{tool}")
    about = {"tool": tool, "forced": state or "auto", "reason": reason}
    async with hot().acquire() as connection, connection.transaction():
        await connection.execute(_FORCE, tool, state, who, reason)
        await audit.append(connection, who=who, act=audit.Act.BREAKER, about=about)
        if state is not BreakerState.OPEN:
            await connection.execute(_LET_GO)
    log.warning("breaker.forced", who=who, **about)


async def see() -> tuple[list[Change], int]:
    """Every breaker on record, and how many workers live."""
    rows = await hot().fetch(_SEE)
    found = [
        Change(
            row["tool"], BreakerState(row["state"]), row["epoch"], row["openings"], row["left_s"],
            row["told"], BreakerState(row["forced"]) if row["forced"] else None,
        )
        for row in rows
    ]  # fmt: skip
    return found, await hot().fetchval(_COUNT)


async def breakers() -> list[Any]:
    """Every breaker on record, those that hold something up first."""
    found: list[Any] = await hot().fetch(
        "SELECT *, greatest(until - now(), interval '0 s') AS opens FROM breaker"
        " ORDER BY coalesce(forced, state) = 'closed', tool"
    )
    return found
