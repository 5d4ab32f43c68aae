"""The fleet: the worker processes that are, or were lately, alive."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import JSON, Column, Text
from sqlmodel import Field, SQLModel

from models.columns import when


class Worker(SQLModel, table=True):
    """One process; its id is made anew at each start, so that no two ever share one."""

    id: UUID = Field(primary_key=True)
    host: str = Field(sa_type=Text)
    pid: int
    runs: Any = Field(sa_column=Column(JSON, nullable=False))
    """[[pipeline, version], ...] that it can claim."""
    started_at: datetime | None = when(nullable=False, default="now()")
    last_seen: datetime | None = when(nullable=False, default="now()")
    steady_since: datetime | None = when(nullable=False, default="now()")
    """Since when it has been seen without a gap: the beginning, or the end of the last outage."""
    safe_mode: bool = False
    """Its policy has a standing safe mode."""


class Me(NamedTuple):
    """What a process says of itself."""

    id: UUID
    host: str
    pid: int
    runs: bytes
    safe_mode: bool = False


_SEEN = """
    WITH before AS (SELECT last_seen FROM worker WHERE id = $1)
    INSERT INTO worker AS w (id, host, pid, runs, safe_mode) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (id) DO UPDATE
       SET steady_since = CASE WHEN now() - w.last_seen
                                    BETWEEN '0 s' AND make_interval(secs => $6)
                          THEN w.steady_since ELSE now() END,
           last_seen    = now()
 RETURNING coalesce((SELECT last_seen FROM before) > now() + interval '1 s', false)
"""
"""A gap between two beats (an outage, a frozen server, a clock that jumped) begins a new steady
time, and who is not steady reaps nobody: see worker/sweeper.py. A row that somebody has forgotten
meanwhile is written anew."""


async def seen(connection: Any, me: Me, *, gap_s: float) -> bool:
    """Say that a worker lives; return whether the database's clock was put back since."""
    jumped_back: bool = await connection.fetchval(_SEEN, *me, gap_s)
    return jumped_back
