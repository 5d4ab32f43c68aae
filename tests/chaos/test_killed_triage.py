"""`kill -9` of the triage and of its workers, among real tickets of a real tracker; then again."""

import asyncio
import os
import signal
from contextlib import suppress

import pytest

from models.database import hot
from tests.conftest import until
from tests.triage_lab import STUB, Lab, tickets
from worker.pipelines import PIPELINES

TICKETS = int(os.environ.get("SLUICE_TICKETS", "0")) or 90
PATIENCE_S = 60 + TICKETS / 3
REAL = ("ticket-triage", 2) in PIPELINES


@pytest.fixture
def lab(database, redis_url, roundup, tmp_path):
    lab = Lab(tmp_path, database, redis_url)
    lab.settings = {
        "SLUICE_DESK__USER": roundup.user,
        "SLUICE_DESK__PASSWORD": roundup.password,
        "SLUICE_WORKER__CATALOGUES": '["worker.pipelines"]' if REAL else STUB,
        "SLUICE_WORKER__ROOM": "16",
        "SLUICE_WORKER__LEASE_S": "3",
        "SLUICE_WORKER__HEARTBEAT_S": "1",
    }
    yield lab
    lab.stop()


@pytest.mark.long
@pytest.mark.timeout(120 + 4 * PATIENCE_S)
async def test_a_triage_killed_with_its_workers_and_run_again_leaves_each_ticket_once(lab, roundup):
    path = lab.backlog("chaos.csv", tickets(TICKETS, unsure=3))
    words = ("triage", path.name, "--autonomy", "act", "--desk", roundup.url, "--source", "chaos")
    before = len(roundup.issues())

    async def so_many(count: int) -> bool:
        await asyncio.sleep(0.05)
        return len(roundup.issues()) - before >= count

    first = lab.start(*words)
    await until(lambda: so_many(TICKETS // 6), within_s=PATIENCE_S)
    os.kill((await _workers())[0], signal.SIGKILL)
    await until(lambda: so_many(TICKETS // 3), within_s=PATIENCE_S)
    first.kill()
    for pid in await _workers():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    held = await hot().fetchval("SELECT count(*) FROM run WHERE status = 'running'")
    first.communicate(timeout=20)

    code, said = lab.run(*words, patience_s=PATIENCE_S)
    lab.run("answer", "--all", "--approve")
    last, told = lab.run(*words, patience_s=PATIENCE_S)

    assert (code, last) == (0, 0), said + told
    assert held > 0, "the kill hit nothing"
    assert lab.outcomes("chaos-act") == {"answered": TICKETS}
    references = roundup.issues()[before:]
    assert sorted(references) == sorted(f"chaos:T-{n}" for n in range(TICKETS))


async def _workers() -> list[int]:
    rows = await hot().fetch("SELECT pid FROM worker ORDER BY started_at")
    return [row["pid"] for row in rows]
