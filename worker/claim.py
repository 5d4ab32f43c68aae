"""A claim: taking due runs for one lease."""

import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from models.autonomy import Autonomy
from models.budget import Budget, Usage
from models.database import hot
from worker.held import Held

SUSPECT_AT = 2
"""From this many crashes on a run is claimed alone: see worker/quarantine.py."""
OVERSCAN = 2
"""Candidates looked at per run taken, so that two workers claiming at once both find some."""

_FIELDS = """
    run.id, attempt, tenant, pipeline, version, subject, input, budget, partial, steps, calls,
    tokens, reserved_usd + spent_usd AS usd, active_s, bugs, forked_from, autonomy
"""
"""What a worker knows of a run that it has claimed."""

_CLAIM = f"""
    WITH RECURSIVE tenants AS (
        (SELECT tenant FROM run WHERE status = 'queued' ORDER BY tenant LIMIT 1)
        UNION ALL
        SELECT (SELECT r.tenant FROM run r
                 WHERE r.status = 'queued' AND r.tenant > t.tenant ORDER BY r.tenant LIMIT 1)
          FROM tenants t WHERE t.tenant IS NOT NULL),
    heads AS (
        SELECT head.*,
               coalesce(h.held, 0) + row_number() OVER (
                   PARTITION BY tenants.tenant
                   ORDER BY head.priority, head.dispatch_at, head.seq) AS turn
          FROM tenants
          LEFT JOIN unnest($5::text[], $6::int[]) AS h(tenant, held) USING (tenant)
         CROSS JOIN LATERAL (
               SELECT r.id, r.priority, r.dispatch_at, r.seq FROM run r
                WHERE r.tenant = tenants.tenant AND r.status = 'queued' AND r.dispatch_at <= now()
                  AND r.crashes < {SUSPECT_AT}
                  AND (r.pipeline, r.version) IN (SELECT * FROM unnest($3::text[], $4::int[]))
                  AND (r.subject IS NULL OR NOT EXISTS (
                      SELECT FROM run o
                       WHERE o.tenant = r.tenant AND o.subject = r.subject
                         AND o.status <> 'finished' AND o.id <> r.id
                         AND (o.attempt > 0 OR o.seq < r.seq)))
                ORDER BY r.priority, r.dispatch_at, r.seq
                LIMIT $1::int * $9::int) AS head),
    mine AS (
        SELECT locked.id
          FROM (SELECT id FROM heads WHERE turn = 1 OR NOT $7::bool
                 ORDER BY turn, priority, dispatch_at, seq) AS wanted
         CROSS JOIN LATERAL (
               SELECT run.id FROM run
                WHERE run.id = wanted.id AND run.status || '' = 'queued'
                  FOR UPDATE SKIP LOCKED) AS locked
         LIMIT $1::int)
    UPDATE run
       SET status           = 'running',
           waiting_for      = NULL,
           worker           = $2::uuid,
           attempt          = attempt + 1,
           lease_expires_at = now() + make_interval(secs => $8::float),
           started_at       = coalesce(started_at, clock_timestamp())
      FROM mine
     WHERE run.id = mine.id
 RETURNING {_FIELDS}
"""  # noqa: S608  # composed of constants
"""Each tenant's runs go by priority and age; between tenants it goes by turns, counting the runs
that this worker holds already, so that ten thousand of one tenant never stand before one of
another. Two workers racing for one run meet on its row: the second skips it, and the re-check of
`status` under the lock refuses one that the first has just taken. Runs on one subject go in the
order of their admission; the unique index run_one_per_subject refuses what a race lets through.
(`|| ''` keeps the planner from the index on queued runs, where one by its id is better found.)"""

_CLAIM_ALONE = f"""
    UPDATE run
       SET status           = 'running',
           waiting_for      = NULL,
           worker           = $1::uuid,
           attempt          = attempt + 1,
           lease_expires_at = now() + make_interval(secs => $4::float),
           started_at       = coalesce(started_at, clock_timestamp())
     WHERE id = (
           SELECT r.id FROM run r
            WHERE r.status = 'queued' AND r.crashes >= {SUSPECT_AT} AND r.dispatch_at <= now()
              AND (r.pipeline, r.version) IN (SELECT * FROM unnest($2::text[], $3::int[]))
              AND (r.subject IS NULL OR NOT EXISTS (
                  SELECT FROM run o
                   WHERE o.tenant = r.tenant AND o.subject = r.subject
                     AND o.status <> 'finished' AND o.id <> r.id
                     AND (o.attempt > 0 OR o.seq < r.seq)))
            ORDER BY r.dispatch_at LIMIT 1 FOR UPDATE SKIP LOCKED)
 RETURNING {_FIELDS}
"""  # noqa: S608  # composed of constants

_ADOPT = f"""
    UPDATE run SET attempt = attempt + 1, lease_expires_at = now() + make_interval(secs => $3)
     WHERE worker = $1 AND status = 'running' AND NOT id = ANY($2::uuid[])
 RETURNING {_FIELDS}
"""  # noqa: S608  # composed of constants
"""A new attempt, for the old one may have written steps, or have a write under way."""


class Claims:
    """Takes runs in the name of one worker process."""

    def __init__(self, worker: UUID, served: Sequence[tuple[str, int]], lease_s: float) -> None:
        self.worker = worker
        self._pipelines = [name for name, _ in served]
        self._versions = [version for _, version in served]
        self._lease_s = float(lease_s)
        self._budgets: dict[bytes, Budget] = {}

    async def take(
        self, room: int, *, held: Mapping[str, int], only_new_tenants: bool = False
    ) -> list[Held]:
        """Claim up to `room` due runs; `held` says how many this worker holds of each tenant.

        With `only_new_tenants`, just one run of each tenant it holds none of.
        """
        started = time.monotonic()
        rows = await hot().fetch(
            _CLAIM,
            room,
            self.worker,
            self._pipelines,
            self._versions,
            list(held.keys()),
            list(held.values()),
            only_new_tenants,
            self._lease_s,
            OVERSCAN,
        )
        return [self._held(row, started) for row in rows]

    async def adopt(self, known: Sequence[UUID]) -> list[Held]:
        """Claim again the runs that are ours in the table and not in `known`.

        Claims whose answer was lost, and what was let go while the database was away.
        """
        started = time.monotonic()
        rows = await hot().fetch(_ADOPT, self.worker, list(known), self._lease_s)
        return [self._held(row, started) for row in rows]

    async def take_suspect(self) -> list[Held]:
        """Claim one run whose workers have died again and again, or none."""
        started = time.monotonic()
        rows = await hot().fetch(
            _CLAIM_ALONE, self.worker, self._pipelines, self._versions, self._lease_s
        )
        return [self._held(row, started) for row in rows]

    def _held(self, row: Any, started: float) -> Held:
        budget = self._budgets.get(row["budget"])
        if budget is None:
            budget = self._budgets[row["budget"]] = Budget.model_validate_json(row["budget"])
        return Held(
            id=row["id"],
            attempt=row["attempt"],
            tenant=row["tenant"],
            pipeline=row["pipeline"],
            version=row["version"],
            subject=row["subject"],
            input=row["input"],
            budget=budget,
            usage=Usage(row["steps"], row["calls"], row["tokens"], row["usd"], row["active_s"]),
            bugs=row["bugs"],
            started=started,
            active_before_s=row["active_s"],
            partial=row["partial"],
            forked=row["forked_from"] is not None,
            autonomy=Autonomy(row["autonomy"] or Autonomy.ACT),
        )
