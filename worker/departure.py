"""A departure: how a run leaves the worker that held it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from models.autonomy import LOWER, Autonomy
from models.cancel import withdraw
from models.columns import plain
from models.database import hot
from models.run import RunStatus, StopReason, WaitingFor
from worker.outcome import LostLease


@dataclass(slots=True)
class Departure:
    """How a run leaves the worker that held it."""

    run_id: UUID
    attempt: int
    status: RunStatus
    active_s: float
    stop_reason: StopReason | None = None
    waiting_for: WaitingFor | None = None
    delay_s: float = 0.0
    detail: str | None = None
    result: bytes | None = None
    error: bytes | None = None
    bug: int = 0
    gate_scope: str | None = None
    """Parked at the gate: whose, and the mode that lets it go on."""
    gate_mode: str | None = None
    level: Autonomy = Autonomy.ACT
    """What the attempt was allowed when it ended."""


_LEAVE = f"""
    WITH m AS (
        SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::float[], $5::text[],
                             $6::text[], $7::float[], $8::text[], $9::json[], $10::json[],
                             $11::int[], $12::text[], $13::text[], $14::text[])
            AS m(run_id, attempt, status, active_s, stop_reason, waiting_for, delay_s, detail,
                 result, error, bug, gate_scope, gate_mode, level)),
    fence AS (
        SELECT run.id FROM run JOIN m ON (run.id, run.attempt) = (m.run_id, m.attempt)
         WHERE run.status = 'running' ORDER BY run.id FOR NO KEY UPDATE OF run),
    gone AS (
        UPDATE run
           SET status           = m.status,
               stop_reason      = m.stop_reason,
               waiting_for      = m.waiting_for,
               dispatch_at      = CASE m.status WHEN 'queued'
                                  THEN now() + make_interval(secs => m.delay_s) END,
               detail           = CASE m.stop_reason WHEN 'cancelled' THEN run.detail
                                  ELSE m.detail END,
               result           = m.result,
               error            = coalesce(m.error, run.error),
               bugs             = run.bugs + m.bug,
               gate_scope       = m.gate_scope,
               gate_mode        = m.gate_mode,
               level            = {LOWER},
               active_s         = m.active_s,
               worker           = NULL,
               lease_expires_at = NULL,
               finished_at      = CASE m.status WHEN 'finished' THEN clock_timestamp() END
          FROM m JOIN fence ON fence.id = m.run_id
         WHERE run.id = m.run_id
     RETURNING run.id, run.stop_reason),
    doubts AS (
        UPDATE ledger_entry SET state = 'in_doubt' FROM gone
         WHERE run_id = gone.id AND stop_reason <> 'success'
           AND state = 'reserved' AND kind = 'call' AND effect <> 'read')
    SELECT array_agg(id) AS ids, pg_notify('sluice_run', string_agg(id::text, ' ')) FROM gone
"""  # noqa: S608  # composed of constants
"""The only way out of `running` for the worker that holds it; a fenced one finds no row. The
notice only makes a waiting client look at once. A run that ends with a write in doubt leaves
that doubt behind, listed, and a person is asked."""


async def leave(departures: Sequence[Departure]) -> list[BaseException | None]:
    """Let runs go, each with its outcome; a LostLease for those that were no longer ours."""
    if all(each.stop_reason is not StopReason.CANCELLED for each in departures):
        gone = await _leave(hot(), departures)
    else:  # what they have proposed, nobody wants any more
        async with hot().acquire() as connection, connection.transaction():
            gone = await _leave(connection, departures)
            cancelled = [d.run_id for d in departures if d.stop_reason is StopReason.CANCELLED]
            await withdraw(connection, [each for each in cancelled if each in gone])
    return [None if each.run_id in gone else LostLease() for each in departures]


async def _leave(connection: Any, departures: Sequence[Departure]) -> set[UUID]:
    """Those that went."""
    row = await connection.fetchrow(
        _LEAVE,
        [each.run_id for each in departures],
        [each.attempt for each in departures],
        [each.status for each in departures],
        [each.active_s for each in departures],
        [each.stop_reason for each in departures],
        [each.waiting_for for each in departures],
        [each.delay_s for each in departures],
        [plain(each.detail) for each in departures],
        [each.result for each in departures],
        [each.error for each in departures],
        [each.bug for each in departures],
        [each.gate_scope for each in departures],
        [each.gate_mode for each in departures],
        [each.level for each in departures],
    )
    return set(row["ids"] or ())


@dataclass(frozen=True, slots=True)
class Partial:
    """The best result so far, kept in case the run stops."""

    run_id: UUID
    attempt: int
    value: bytes


_KEEP = """
    WITH m AS (SELECT * FROM unnest($1::uuid[], $2::int[], $3::json[])
                   AS m(run_id, attempt, partial)),
    fence AS (
        SELECT run.id FROM run JOIN m ON (run.id, run.attempt) = (m.run_id, m.attempt)
         WHERE run.status = 'running' ORDER BY run.id FOR NO KEY UPDATE OF run)
    UPDATE run SET partial = m.partial FROM m JOIN fence ON fence.id = m.run_id
     WHERE run.id = m.run_id
 RETURNING run.id
"""


async def keep(partials: Sequence[Partial]) -> list[BaseException | None]:
    """Keep what a run would answer if it stopped now."""
    last = {each.run_id: each for each in partials}
    rows = await hot().fetch(
        _KEEP,
        list(last),
        [each.attempt for each in last.values()],
        [each.value for each in last.values()],
    )
    kept = {row[0] for row in rows}
    return [None if each.run_id in kept else LostLease() for each in partials]
