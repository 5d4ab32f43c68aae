"""Real tickets, a real ticket server, and workers that die among them."""

import contextlib
import csv
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from models.database import hot
from models.review import Verdict
from models.verdict import NotOpen, answer
from tests.conftest import finished, until

SAMPLES = Path(__file__).parents[2] / "samples" / "backlog.csv"
PUBLIC = Path(__file__).parents[3] / "shared" / "data" / "banking77.csv"
LEASE_S = 9


def backlog(count: int) -> list[dict[str, str]]:
    """The sample backlog, or with SLUICE_TICKETS=n so many public ones, where they lie."""
    wanted = int(os.environ.get("SLUICE_TICKETS", "0"))
    path, text = (PUBLIC, "text") if wanted else (SAMPLES, "body")
    if not path.exists():
        pytest.skip(f"needs {path.name} beside the project")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))[: wanted or count]
    return [{"id": row["id"], "text": row[text], "source": "real"} for row in rows]


async def answered_and_finished(count: int) -> bool:
    """Approve whatever waits for a person, and say whether all is over."""
    for row in await hot().fetch("SELECT id FROM review WHERE verdict IS NULL LIMIT 500"):
        with contextlib.suppress(NotOpen):
            await answer(row["id"], Verdict.APPROVED, who="ann")
    return await finished(count)


async def test_one_of_two_workers_killed_among_real_tickets_leaves_each_once_at_the_tracker(
    submit, fleet, roundup
):
    tickets = backlog(150)
    desk = {
        "DESK__URL": roundup.url,
        "DESK__USER": roundup.user,
        "DESK__PASSWORD": roundup.password,
    }
    before = len(roundup.issues())
    first, _ = fleet.workers(2, WORKER__ROOM="16", **desk)
    await until(lambda: hot().fetchval("SELECT count(*) = 2 FROM worker"))
    for ticket in tickets:
        await submit("ticket-triage", ticket, key=ticket["id"])

    third = len(tickets) // 3
    await until(
        lambda: hot().fetchval("SELECT count(finished_at) >= $1 FROM run", third), within_s=300
    )
    os.kill(first.pid, signal.SIGKILL)
    killed = time.monotonic()
    await until(lambda: answered_and_finished(len(tickets)), within_s=300)

    reasons = Counter(row[0] for row in await hot().fetch("SELECT stop_reason FROM run"))
    references = roundup.issues()[before:]
    crashed = await hot().fetchval("SELECT count(*) FROM run WHERE crashes > 0")
    print(  # noqa: T201  # the figure is what one runs this for
        f"\n{len(tickets)} tickets, {crashed} runs in the killed worker's hands,"
        f" all finished {time.monotonic() - killed:.1f} s after the kill"
    )
    assert reasons == {"success": len(tickets)}
    assert sorted(references) == sorted(f"real:{ticket['id']}" for ticket in tickets)
    assert crashed > 0, "the kill hit nothing"
