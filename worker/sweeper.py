"""The sweeper: puts back what somebody dropped. It executes nothing."""

import asyncio
import random
from collections.abc import Callable
from decimal import Decimal
from uuid import UUID

import asyncpg
import structlog

from config.settings import GAP_BEATS, LEASE_LIMIT_S
from models import pulse
from models.call_audit import seal
from models.cancel import end_the_left
from models.database import TRANSIENT, hot
from models.doubt import LEAVE_IN_DOUBT, ask_after
from models.gate import follow_policy
from models.pulse import Beat
from models.transition import refused, report
from models.verdict import expire

log = structlog.get_logger()

EVERY_S = 1.0
FORGET_WORKER_S = 3600.0
_SOONEST_S = 0.05

_EXPIRED = """
    WITH dropped AS (
        SELECT id, CASE WHEN cancel_requested_at IS NOT NULL THEN 'cancelled'
                        WHEN crashes + 1 >= $1 THEN 'crashes_exhausted' END AS reason
          FROM run
         WHERE status = 'running'
           AND (lease_expires_at < now() OR lease_expires_at > now() + make_interval(secs => $4))
           AND EXISTS (SELECT FROM worker me
                        WHERE me.id = $2 AND me.steady_since <= now() - make_interval(secs => $3)
                          AND now() - me.last_seen BETWEEN '0 s' AND make_interval(secs => $3))
         ORDER BY id FOR NO KEY UPDATE SKIP LOCKED LIMIT 1000)
    UPDATE run
       SET crashes          = crashes + 1,
           status           = CASE WHEN reason IS NULL THEN 'queued' ELSE 'finished' END,
           stop_reason      = reason,
           finished_at      = CASE WHEN reason IS NOT NULL THEN now() END,
           dispatch_at      = CASE WHEN reason IS NULL THEN now() END,
           detail           = CASE reason WHEN 'cancelled' THEN detail
                              ELSE 'its worker went silent ' || (crashes + 1) || ' time(s)' END,
           worker           = NULL,
           lease_expires_at = NULL
      FROM dropped
     WHERE run.id = dropped.id
 RETURNING run.id, run.attempt, run.crashes, run.stop_reason
"""
"""Guarded by the row as it is under the lock, never by what somebody saw earlier: a run that was
renewed, finished or claimed again meanwhile is no longer `running` past its lease. `attempt` stays,
so that the worker that fell silent is fenced by the next claim, not by this.

Whoever sweeps must itself have been seen without a gap for a while: after an outage, a freeze or a
jump of the database's clock every lease may have run out, and those who hold them come first. All
of that is judged by the row and the database's clock inside the statement, for a statement that
was sent before a freeze may be executed after it."""

_NEXT = """
    SELECT extract(epoch FROM min(lease_expires_at) - now())::float FROM run
     WHERE status = 'running'
"""

FIRST_COHORT, LARGEST_COHORT = 16, 1024
_COHORT_S = 0.9
_RELEASE = f"""
    WITH turn AS (
        UPDATE gate
           SET cohort = least(greatest(cohort * 2, {FIRST_COHORT}), {LARGEST_COHORT}),
               cohort_at = now()
         WHERE mode <> 'closed'
           AND NOT cohort_at BETWEEN now() - interval '{_COHORT_S} s' AND clock_timestamp()
           AND EXISTS (SELECT FROM run
                        WHERE status = 'waiting' AND waiting_for = 'gate'
                          AND coalesce(gate_scope, 'fleet') = gate.scope
                          AND coalesce(gate_mode, 'open') IN ('read_only', gate.mode))
     RETURNING scope, mode, cohort),
    parked AS (
        SELECT locked.id FROM turn CROSS JOIN LATERAL (
               SELECT run.id FROM run
                WHERE run.status = 'waiting' AND run.waiting_for = 'gate'
                  AND coalesce(gate_scope, 'fleet') = turn.scope
                  AND coalesce(gate_mode, 'open') IN ('read_only', turn.mode)
                ORDER BY run.id LIMIT turn.cohort FOR NO KEY UPDATE SKIP LOCKED) AS locked)
    UPDATE run SET status = 'queued', waiting_for = NULL, dispatch_at = now(), detail = NULL
      FROM parked WHERE run.id = parked.id
 RETURNING run.id
"""  # noqa: S608  # composed of constants
"""What waits at a gate that stands open comes back the oldest first, in cohorts that double: a
target that was the reason to shut it is not met by ten thousand runs at once. One cohort for each
gate and second, however many sweep: whoever comes second finds `cohort_at` just set, perhaps after
its own statement began."""

_FORGET = """
    DELETE FROM worker
     WHERE last_seen < now() - make_interval(secs => $3)
       AND EXISTS (SELECT FROM worker me
                    WHERE me.id = $1 AND me.steady_since <= now() - make_interval(secs => $2)
                      AND now() - me.last_seen BETWEEN '0 s' AND make_interval(secs => $2))
"""


class Sweeper:
    """One per worker; several sweeping at once is the normal case, and each finds what is left."""

    def __init__(
        self, worker: UUID, *, crash_limit: int, heartbeat_s: float, wake: Callable[[], None]
    ) -> None:
        self._worker = worker
        self._crash_limit = crash_limit
        self._heartbeat_s = float(heartbeat_s)
        self._wake = wake

    async def run(self) -> None:
        """Sweep about once a second, and when the next lease runs out, until cancelled."""
        while True:
            pause_s = EVERY_S
            try:
                swept = await self.sweep()
                if swept:
                    self._wake()
                pause_s = await self._pause_s(idle=not swept)
            except TRANSIENT as error:
                log.warning("sweeper.database_away", error=repr(error))
            except asyncpg.PostgresError as error:
                if not refused(error):
                    raise
                await report(error, where="the sweeper")  # and what else it sweeps goes on
            # Jitter keeps the fleet's sweepers from meeting on the same rows.
            await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311  # jitter

    async def sweep(self) -> int:
        """One round; return how many runs it put back or ended."""
        steady_s = GAP_BEATS * self._heartbeat_s
        async with hot().acquire() as connection, connection.transaction():
            expired = await connection.fetch(
                _EXPIRED, self._crash_limit, self._worker, steady_s, LEASE_LIMIT_S
            )
            if ended := [row["id"] for row in expired if row["stop_reason"]]:
                await connection.execute(LEAVE_IN_DOUBT, ended)
        if crashed := sum(row["stop_reason"] == "crashes_exhausted" for row in expired):
            await pulse.tell(self._worker, Beat(crashed, crashed, Decimal(0)))
        for row in expired:
            log.warning(
                "run.recovered",
                run=str(row["id"]),
                attempt=row["attempt"],
                crashes=row["crashes"],
                stop_reason=row["stop_reason"],
            )
        cancelled = await end_the_left()
        await follow_policy(self._worker, steady_s=steady_s)
        opened = await hot().fetch(_RELEASE)
        denied = await expire()
        await ask_after()
        await seal()
        await hot().execute(_FORGET, self._worker, steady_s, FORGET_WORKER_S)
        return len(expired) + cancelled + len(opened) + denied

    async def _pause_s(self, *, idle: bool) -> float:
        left_s: float | None = await hot().fetchval(_NEXT)
        if left_s is None or left_s > EVERY_S or (left_s < 0 and idle):
            return EVERY_S
        return max(left_s + _SOONEST_S, _SOONEST_S) / 0.8
