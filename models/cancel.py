"""Cancelling: ending a run that nobody wants any more."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from models.database import hot
from models.doubt import LEAVE_IN_DOUBT
from models.run import RunStatus

_REQUEST = """
    UPDATE run
       SET cancel_requested_at = coalesce(cancel_requested_at, now()),
           detail      = $2,
           status      = CASE status WHEN 'running' THEN status ELSE 'finished' END,
           stop_reason = CASE status WHEN 'running' THEN NULL ELSE 'cancelled' END,
           finished_at = CASE status WHEN 'running' THEN NULL ELSE now() END,
           waiting_for = NULL,
           dispatch_at = NULL
     WHERE id = $1 AND status <> 'finished' AND ($3::text IS NULL OR tenant = $3)
 RETURNING id, status
"""
"""A claim and a cancel meet on the row: whoever comes second sees what the first has done."""

_LEFT = """
    WITH unwanted AS (
        SELECT id FROM run
         WHERE cancel_requested_at IS NOT NULL AND status IN ('queued', 'waiting')
         ORDER BY id FOR NO KEY UPDATE SKIP LOCKED LIMIT 200)
    UPDATE run SET status = 'finished', stop_reason = 'cancelled', waiting_for = NULL,
                   dispatch_at = NULL, finished_at = now()
      FROM unwanted WHERE run.id = unwanted.id
 RETURNING run.id
"""

_WITHDRAW = """
    UPDATE review SET verdict = 'withdrawn', decided_at = now(), note = 'the run was cancelled'
     WHERE run_id = ANY($1::uuid[]) AND verdict IS NULL AND kind <> 'in_doubt'
"""
_KEEP_ASKING = """
    UPDATE review SET decide_by = NULL
     WHERE run_id = ANY($1::uuid[]) AND verdict IS NULL AND kind = 'in_doubt'
"""
_TELL = "SELECT pg_notify('sluice_run', id::text) FROM unnest($1::uuid[]) AS id"


async def cancel(run: UUID, *, who: str, reason: str, tenant: str | None = None) -> RunStatus:
    """End a run that waits at once, and one that runs as soon as its worker hears of it.

    Return FINISHED when it is over now (or was), RUNNING when its worker has yet to let go: a
    write under way is brought to its end first. What a cancelled run had sent and not heard of
    stays a listed doubt.
    """
    told = f"cancelled by {who}" + (f": {reason}" if reason else "")
    async with hot().acquire() as connection, connection.transaction():
        row = await connection.fetchrow(_REQUEST, run, told[:500], tenant)
        if row is not None and row["status"] == RunStatus.FINISHED:
            await _close(connection, [run])
    return RunStatus.FINISHED if row is None else RunStatus(row["status"])


async def end_the_left() -> int:
    """End the cancelled runs that left their worker for another reason; return how many."""
    async with hot().acquire() as connection, connection.transaction():
        ended = [row[0] for row in await connection.fetch(_LEFT)]
        if ended:
            await _close(connection, ended)
    return len(ended)


async def withdraw(connection: Any, runs: Sequence[UUID]) -> None:
    """Nobody needs an answer any more, but to what is in doubt."""
    await connection.execute(_WITHDRAW, runs)


async def _close(connection: Any, runs: Sequence[UUID]) -> None:
    for statement in (_WITHDRAW, _KEEP_ASKING, LEAVE_IN_DOUBT, _TELL):
        await connection.execute(statement, runs)
