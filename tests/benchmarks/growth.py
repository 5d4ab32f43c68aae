"""Growth: what accepting and claiming cost while the tables grow.

`python -m tests.benchmarks.growth [--rows 10000 100000 ...]`; ten million rows take some minutes
and six gigabytes.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from uuid import uuid4

from rich.console import Console
from rich.table import Table

from models.admission import Admission
from models.database import hot
from models.request import Request
from tests.benchmarks.lab import FULL, TENANT, Lab, lab_of
from tests.benchmarks.meter import cpu_s
from tests.conftest import CATALOGUE
from worker.claim import Claims

ROWS = (10_000, 100_000, 1_000_000, 10_000_000)
_ROUNDS = 5
_PER_ROUND = 4000
_AT_ONCE = 1000
_FILLED_AT_ONCE = 500_000

_FILL = """
    WITH made AS (
        SELECT uuidv7(interval '-1 day' * $2::float) AS id, md5(random()::text) AS key
          FROM generate_series(1, $1::int)),
    keys AS (
        INSERT INTO request_key (tenant, key, fingerprint, fingerprint_version, run_id)
        SELECT 'bench', key, sha256(key::bytea), 1, id FROM made)
    INSERT INTO run (id, tenant, key, pipeline, version, input, budget, status, stop_reason,
           dispatch_at, attempt, result, created_at, started_at, finished_at)
    SELECT made.id, 'bench', key, 'noop', 1, '{"n": 1}', c.budget, 'finished', 'success',
           NULL, 1, '{"n": 1}', now(), now(), now()
      FROM made, contract c WHERE (c.name, c.version) = ('noop', 1)
"""
"""Keys as clients make them, without an order: the worst for the index they stand in."""

_FINISH = """
    UPDATE run SET status = 'finished', stop_reason = 'success', worker = NULL, dispatch_at = NULL,
                   lease_expires_at = NULL, finished_at = now()
     WHERE status <> 'finished'
"""


async def measured(lab: Lab, rows: Sequence[int], console: Console) -> list[tuple[float, ...]]:
    """Fill up to each number of rows, and measure there; (rows, accepts/s, claims/s) each."""
    found = []
    async with lab.bench():
        filled = 0
        for target in sorted(rows):
            while filled < target:
                count = min(_FILLED_AT_ONCE, target - filled)
                await hot().execute(_FILL, count, float(target - filled) / target, timeout=600)
                filled += count
                console.print(f"{filled:,} rows", end="\r")
            await hot().execute("VACUUM (ANALYZE) run, request_key", timeout=1200)
            await hot().execute("CHECKPOINT", timeout=600)
            rounds = [await _round() for _ in range(_ROUNDS + 1)][1:]  # the first warms up
            filled += (_ROUNDS + 1) * _PER_ROUND
            best = tuple(statistics.median(each) for each in zip(*rounds, strict=True))
            found.append((float(target), *best))
    return found


async def _round() -> tuple[float, float, float, float]:
    """Accept a few thousand, then claim them, as one process does; rates and server CPU (us)."""
    admission = Admission(patience_s=10)
    backends = await _backends()
    before, started = sum(map(cpu_s, backends)), time.perf_counter()
    for _ in range(0, _PER_ROUND, _AT_ONCE):
        await asyncio.gather(
            *(admission(Request(TENANT, uuid4().hex, "noop", {"n": 1})) for _ in range(_AT_ONCE))
        )
    accepted_s, accepted_cpu = time.perf_counter() - started, sum(map(cpu_s, backends)) - before
    claims, taken = Claims(uuid4(), list(CATALOGUE), 60), 0
    before, started = sum(map(cpu_s, backends)), time.perf_counter()
    while batch := await claims.take(256, held={}):
        taken += len(batch)
    claimed_s, claimed_cpu = time.perf_counter() - started, sum(map(cpu_s, backends)) - before
    if taken != _PER_ROUND:
        raise AssertionError(f"{_PER_ROUND} runs were due, {taken} were claimed")
    await hot().execute(_FINISH)
    each = 1e6 / _PER_ROUND
    return (
        _PER_ROUND / accepted_s,
        _PER_ROUND / claimed_s,
        accepted_cpu * each,
        claimed_cpu * each,
    )


async def _backends() -> list[int]:
    rows = await hot().fetch(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'sluice'"
    )
    return [row[0] for row in rows]


def main() -> None:
    """Measure, and show what became of the rates."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.growth", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    asked = parser.parse_args()
    console = Console(highlight=False)
    with lab_of(FULL) as lab:
        found = asyncio.run(measured(lab, asked.rows, console))
    table = Table(box=None)
    heads = ("rows", "accepts/s", "claims/s", "accept, server us", "claim, server us")
    for name in heads:
        table.add_column(name, justify="right")
    for line in found:
        change = [
            f"{each:,.0f} ({each / first - 1:+.0%})"
            for each, first in zip(line[1:], found[0][1:], strict=True)
        ]
        table.add_row(f"{line[0]:,.0f}", *change)
    console.print(table)


if __name__ == "__main__":
    main()
