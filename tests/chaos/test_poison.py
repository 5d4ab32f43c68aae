"""A run that kills whoever runs it, among two thousand that do no harm."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from models.database import hot
from tests.conftest import finished, until

RUNS = 2000
QUICK = {"WORKER__LEASE_S": "3", "WORKER__HEARTBEAT_S": "1", "WORKER__ROOM": "128"}


@asynccontextmanager
async def supervised(fleet, count) -> AsyncIterator[None]:
    """So many workers, each started again when it dies, as an operator's supervisor does."""

    async def supervise() -> None:
        workers = fleet.workers(count, **QUICK)
        while True:
            for place, each in enumerate(workers):
                if each.poll() is not None:
                    workers[place] = fleet.workers(1, **QUICK)[0]
            await asyncio.sleep(0.1)

    task = asyncio.create_task(supervise())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_one_poison_run_among_two_thousand_harms_nobody(submit, fleet):
    await asyncio.gather(*(submit("poison", {"n": n}, key=f"k{n}") for n in range(RUNS)))

    async with supervised(fleet, 2):
        await until(lambda: finished(RUNS), within_s=90)

    rows = await hot().fetch("SELECT stop_reason, crashes FROM run")
    assert Counter(row["stop_reason"] for row in rows) == {
        "success": RUNS - 1,
        "crashes_exhausted": 1,
    }
    assert max(row["crashes"] for row in rows if row["stop_reason"] == "success") <= 2, (
        "no neighbour was harmed once the suspects ran alone"
    )
    assert await hot().fetchval("SELECT count(*) FROM run WHERE crashes = 2") > 0, (
        "nobody was alone with it: the quarantine was not needed"
    )
    assert fleet.logs().count("quarantine.over") > 0
