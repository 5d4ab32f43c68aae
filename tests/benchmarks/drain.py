"""Draining: a backlog, admitted before, through one worker process.

The worker starts up while a table lock keeps it from claiming; the time runs from the release of
that lock to the last `finished_at`, both by the database's clock.
"""

import asyncio

from models.database import hot
from models.run import StopReason
from tests.benchmarks.lab import Lab, Values
from tests.benchmarks.meter import peak_rss_mb

_LOOK_S = 0.1
_PATIENCE_S = 120

_OUTCOME = """
    SELECT count(*) AS runs, count(*) FILTER (WHERE stop_reason = $1 AND attempt = 1) AS good,
           sum(steps) AS steps, max(finished_at) AS last,
           (SELECT count(*) FROM ledger_entry WHERE state = 'settled' AND tries = 1) AS entries
      FROM run
"""


async def noop(lab: Lab) -> Values:
    """Runs that do nothing: what a run costs."""
    return await _drain(lab, "noop", {"n": 1}, runs=lab.sizes.noop, steps=0)


async def reads(lab: Lab) -> Values:
    """Runs of five free reads: what a recorded step costs."""
    return await _drain(lab, "five-reads", {"n": 1}, runs=lab.sizes.reads, steps=5)


async def writes(lab: Lab) -> Values:
    """Runs of five writes: what gate, reservation, intent and settlement cost."""
    return await _drain(lab, "five-writes", {"n": 1}, runs=lab.sizes.writes, steps=5)


async def waits(lab: Lab) -> Values:
    """Runs that each wait for one second, side by side."""
    return await _drain(lab, "wait", {"seconds": 1}, runs=lab.sizes.waits, steps=1)


async def _drain(lab: Lab, pipeline: str, given: object, *, runs: int, steps: int) -> Values:
    async with lab.bench() as bench:
        await bench.admit(pipeline, given, runs)
        async with bench.held_back("run") as gun:
            pid = await bench.worker()
            with lab.meter({"worker": pid}).running() as meter:
                fired_at = await gun.fire()
                await _until_all_are_over()
        row = await hot().fetchrow(_OUTCOME, StopReason.SUCCESS)
        if (row["runs"], row["good"], row["steps"], row["entries"]) != (
            runs,
            runs,
            runs * steps,
            runs * steps,
        ):
            raise AssertionError(f"{runs} runs of {steps} steps were due, but there are {row}")
        took_s = (row["last"] - fired_at).total_seconds()
        worker_us, postgres_us = (1e6 * meter.cpu_s[name] / runs for name in ("worker", "postgres"))
        values = {
            "seconds": took_s,
            "per_s": runs / took_s,
            "cpu_us": worker_us,
            "postgres_us": postgres_us,
            "rss_mb": peak_rss_mb(pid),
            "foreign_percent": meter.foreign_percent,
        }
        if steps:
            values |= {
                "steps_per_s": runs * steps / took_s,
                "step_cpu_us": worker_us / steps,
                "step_postgres_us": postgres_us / steps,
            }
        return values


async def _until_all_are_over() -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while await hot().fetchval("SELECT EXISTS (SELECT FROM run WHERE status <> 'finished')"):
            await asyncio.sleep(_LOOK_S)
