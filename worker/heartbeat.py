"""The heartbeat: keeps this worker's leases, on a connection of its own."""

import asyncio
import contextlib
import time
from typing import Any
from uuid import UUID

import structlog

from config.settings import GAP_BEATS
from models.database import TRANSIENT, dedicated
from models.fleet import Me, seen
from worker.intake import Intake

log = structlog.get_logger()

MARGIN_S = 0.5
"""Our clock and the database's may drift apart by this much within one lease."""

_RENEW = """
    WITH mine AS (
        SELECT run.id, m.active_s FROM run
          JOIN unnest($1::uuid[], $2::int[], $4::float[]) AS m(id, attempt, active_s)
         USING (id, attempt)
         WHERE run.status = 'running' ORDER BY run.id FOR NO KEY UPDATE OF run)
    UPDATE run SET lease_expires_at = now() + make_interval(secs => $3), active_s = mine.active_s
      FROM mine WHERE run.id = mine.id
 RETURNING run.id, run.cancel_requested_at IS NOT NULL AS unwanted
"""
"""With what they used of their budget of time: a crash costs no more of that than one beat."""

_PULL = """
    UPDATE run
       SET dispatch_at = CASE WHEN waiting_for IS NULL OR waiting_for = 'worker' THEN now()
                         ELSE least(dispatch_at, now() + interval '15 min') END
     WHERE status = 'queued' AND dispatch_at > now()
"""
"""After the database's clock was put back: what was due stays due."""


class Heartbeat:
    """Renews every lease; what it cannot renew in time is lost, and stops writing.

    It runs on the loop that the runs share: a loop that hangs must lose its leases.
    """

    def __init__(self, intake: Intake, me: Me, *, every_s: float, lease_s: float) -> None:
        self._intake = intake
        self._me = me
        self._every_s = every_s
        self._lease_s = float(lease_s)
        self._renewed: dict[UUID, float] = {}
        self._connection: Any = None

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            started = time.monotonic()
            try:
                async with asyncio.timeout(self._every_s):
                    await self._beat(started)
            except TRANSIENT as error:
                log.warning("heartbeat.failed", error=repr(error))
                await self._hang_up()
            self._lose_what_ran_out()
            await asyncio.sleep(max(0.0, started + self._every_s - time.monotonic()))

    async def _beat(self, started: float) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await dedicated()
        held = list(self._intake.held.values())
        if await seen(self._connection, self._me, gap_s=GAP_BEATS * self._every_s):
            log.warning("heartbeat.clock_jumped_back")
            await self._connection.execute(_PULL)
        if not held:
            self._renewed.clear()
            return
        rows = await self._connection.fetch(
            _RENEW,
            [each.id for each in held],
            [each.attempt for each in held],
            self._lease_s,
            [each.active_s() for each in held],
        )
        kept = {row[0] for row in rows}
        self._renewed = dict.fromkeys(kept, started)
        unwanted = {row["id"] for row in rows if row["unwanted"]}
        for each in held:
            if each.id not in kept:
                self._intake.lose(each)  # unless it has just left in the ordinary way
            elif each.id in unwanted:
                self._intake.cancel(each)

    def _lose_what_ran_out(self) -> None:
        now = time.monotonic()
        for held in list(self._intake.held.values()):
            since = max(self._renewed.get(held.id, 0.0), held.started)
            if now - since > self._lease_s - MARGIN_S:
                log.warning("run.lease_ran_out", run=str(held.id), silent_s=round(now - since, 1))
                self._intake.lose(held)

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*TRANSIENT):
                await connection.close(timeout=1)
