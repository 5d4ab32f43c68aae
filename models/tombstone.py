"""A tombstone: what is left of a run whose payload was purged, for as long as its key is kept."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, Text
from sqlmodel import Field, SQLModel

from models.agreement import KEEP
from models.columns import when, word
from models.database import hot
from models.run import StopReason


class Tombstone(SQLModel, table=True):
    """Tells a late duplicate what became of its request, without what was in it."""

    run_id: UUID = Field(primary_key=True)
    tenant: str = Field(sa_type=Text)
    key: str = Field(sa_type=Text)
    pipeline: str = Field(sa_type=Text)
    version: int
    stop_reason: StopReason = Field(sa_type=word(StopReason))
    created_at: datetime | None = when(nullable=False)
    finished_at: datetime | None = when(nullable=False)
    purged_at: datetime | None = when(nullable=False, default="now()")

    __table_args__ = (Index("tombstone_age", "finished_at"),)


BATCH = 500
FIRST = UUID(int=0)

_BURY = f"""
    WITH page AS (
        SELECT id, created_at < now() - make_interval(secs => $2) AS old FROM run
         WHERE id > $1 ORDER BY id LIMIT $3),
    dead AS (
        SELECT run.* FROM run JOIN page ON page.id = run.id AND page.old
         WHERE run.status = 'finished' AND run.key IS NOT NULL
           AND run.finished_at < now() - make_interval(secs => $2)
           AND NOT EXISTS (SELECT FROM ledger_entry e
                            WHERE e.run_id = run.id AND e.state IN ('reserved', 'in_doubt')
                              AND e.effect <> 'read')
           AND NOT EXISTS (SELECT FROM review v
                            WHERE v.run_id = run.id AND v.kind = 'proposal'
                              AND (v.verdict IS NULL OR v.use_by > now()))
         ORDER BY run.id FOR UPDATE OF run SKIP LOCKED),
    buried AS (
        INSERT INTO tombstone (run_id, tenant, key, pipeline, version, stop_reason, created_at,
               finished_at)
        SELECT id, tenant, key, pipeline, version, stop_reason, created_at, finished_at FROM dead),
    steps AS (
        DELETE FROM ledger_entry e USING dead WHERE e.run_id = dead.id
     RETURNING e.run_id, e.step, e.kind, e.tool, e.effect, e.state, e.settled_at,
               e.copied_from),
    asked AS (
        DELETE FROM review v USING dead WHERE v.run_id = dead.id
     RETURNING v.run_id, v.step, v.kind, v.verdict, v.decided_at),
    {KEEP},
    gone AS (DELETE FROM run USING dead WHERE run.id = dead.id RETURNING run.id)
    SELECT (SELECT CASE WHEN old THEN id END FROM page ORDER BY id DESC LIMIT 1) AS last,
           (SELECT count(*) FROM gone) AS gone
"""  # noqa: S608  # composed of constants
"""In the order of their ids, which is the order of their age: no index is kept for it, and the
pages at the old end of every table become free together. The first page that ends with a young run
ends the walk, so that no walk reads a table of young ones; what is unfinished or in doubt is passed
over and met again by the next walk, and so is whose proposals may yet be approved or done. What
people said of it stays as counts."""

_FORGET = """
    WITH old AS (
        SELECT run_id, tenant, key FROM tombstone
         WHERE finished_at < now() - make_interval(secs => $1)
         ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED),
    keys AS (
        DELETE FROM request_key k USING old
         WHERE (k.tenant, k.key) = (old.tenant, old.key) AND k.run_id = old.run_id),
    gone AS (DELETE FROM tombstone t USING old WHERE t.run_id = old.run_id RETURNING t.run_id)
    SELECT count(*) FROM gone
"""

_CLEAR = """
    WITH notices AS (DELETE FROM notice WHERE since < now() - make_interval(secs => $1)),
    counts AS (DELETE FROM agreement WHERE day < now() - interval '400 days')
    DELETE FROM refusal WHERE id IN (
        SELECT id FROM refusal WHERE refused_at < now() - make_interval(secs => $1)
         ORDER BY refused_at LIMIT $2)
"""


async def bury(after: UUID, *, payload_s: float) -> tuple[UUID | None, int]:
    """Purge one batch of runs that are over for long, from `after` on; leave a tombstone each.

    Return where to go on (None: the walk is over), and how many were purged. What is unfinished,
    or left a write in doubt, stays whole.
    """
    row = await hot().fetchrow(_BURY, after, payload_s, BATCH)
    return row["last"], row["gone"]


async def forget(*, keys_s: float) -> int:
    """Forget one batch of keys whose time is up: from now on each would be a new request."""
    forgotten: int = await hot().fetchval(_FORGET, keys_s, BATCH)
    return forgotten


async def clear(*, keys_s: float) -> None:
    """Remove old notices and refusals."""
    await hot().execute(_CLEAR, keys_s, BATCH)


async def tombstone(run: UUID, tenant: str | None = None) -> Any | None:
    """What is left of a purged run."""
    return await hot().fetchrow(
        "SELECT * FROM tombstone WHERE run_id = $1 AND ($2::text IS NULL OR tenant = $2)",
        run,
        tenant,
    )
