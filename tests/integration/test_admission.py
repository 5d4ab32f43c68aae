"""Admission: for one key one run, whichever way and however often it is asked for."""

import asyncio
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from models.admission import Admission
from models.database import close_database, hot, open_database
from models.request import KeyReused, Request
from models.tenant import create_key
from producer.client import Client
from tests.conftest import free_port, until
from tests.proxy import proxied
from tests.service import Shop, redis_of

KEYS, TIMES = 1000, 5
_A_DAY_AGO = """
    UPDATE run SET created_at   = created_at - interval '1 day',
                   started_at   = started_at - interval '1 day',
                   finished_at  = finished_at - interval '1 day',
                   dispatch_at  = dispatch_at - interval '1 day';
    UPDATE request_key  SET created_at = created_at - interval '1 day';
    UPDATE desk_ticket  SET created_at = created_at - interval '1 day';
    UPDATE ledger_entry SET created_at = created_at - interval '1 day',
                            settled_at = settled_at - interval '1 day';
"""
_COUNTS = """
    SELECT (SELECT count(*) FROM request_key)                                   AS keys,
           (SELECT count(*) FROM run)                                           AS runs,
           (SELECT count(*) FROM run WHERE stop_reason = 'success')             AS successes,
           (SELECT sum(attempt) FROM run)                                       AS executions,
           (SELECT count(*) FROM ledger_entry WHERE step = 'open' AND tries = 1) AS calls,
           (SELECT count(DISTINCT external_ref) FROM desk_ticket)               AS tickets,
           (SELECT sum(writes) FROM desk_ticket)                                AS writes,
           (SELECT count(*) FROM refusal)                                       AS refusals
"""
_EXACTLY = dict.fromkeys(
    ("keys", "runs", "successes", "executions", "calls", "tickets", "writes"), KEYS
) | {"refusals": 0}


async def test_a_thousand_keys_five_times_both_ways_and_again_a_day_later_are_a_thousand_effects(
    fleet, redis_url
):
    queue = f"submissions-{uuid4()}"
    port = free_port()
    shop = Shop(redis_url, await create_key("acme"), queue=queue)
    fleet.workers(2, BROKER__SUBMISSIONS=queue)
    fleet.start("api", API__PORT=str(port))
    async with Client(f"http://127.0.0.1:{port}", shop.api_key) as client:
        await storm(shop, client)
        assert dict(await hot().fetchrow(_COUNTS)) == _EXACTLY

        await hot().execute(_A_DAY_AGO)
        await storm(shop, client)

        assert dict(await hot().fetchrow(_COUNTS)) == _EXACTLY


async def storm(shop: Shop, client: Client) -> None:
    """Every key five times at once, two or three of them by HTTP, the others by Celery."""
    started = time.monotonic()
    every = [(n, i) for n in range(KEYS) for i in range(TIMES)]
    random.shuffle(every)
    by_http = [n for n, i in every if (n + i) % 2]
    by_celery = [n for n, i in every if not (n + i) % 2]
    free = asyncio.Semaphore(50)
    seen: dict[int, set[str]] = {n: set() for n in range(KEYS)}

    async def post(n: int) -> None:
        async with free:
            receipt = await client.submit("one-ticket", {"n": n}, key=f"ticket {n}")
        seen[n].add(receipt.run_id)

    sent = asyncio.to_thread(
        shop.send,
        *(shop.fields(f"ticket {n}", pipeline="one-ticket", input={"n": n}) for n in by_celery),
    )
    await asyncio.gather(sent, *(post(n) for n in by_http))
    await until(lambda: broker_empty(shop), within_s=40)
    await until(all_over, within_s=40)
    assert Counter(map(len, seen.values())) == {1: KEYS}, "every client was told of one run"
    print(f"\n{len(every)} submissions of {KEYS} keys in {time.monotonic() - started:.1f} s")  # noqa: T201


async def broker_empty(shop: Shop) -> bool:
    with redis_of(shop.broker_url) as client:
        return not client.llen(shop.queue) and not client.hlen("sluice.unacked")


async def all_over() -> bool:
    return not await hot().fetchval("SELECT count(*) FROM run WHERE finished_at IS NULL")


_CROSSED = """
import asyncio, sys
from models.admission import Admission
from models.database import close_database, open_database
from models.request import Request

async def main(url, order):
    await open_database(url, connections=3)
    admission = Admission(patience_s=20)
    await admission(Request("acme", f"warm {order}", "noop", {"n": 1}))
    print("ready", flush=True)
    sys.stdin.readline()
    for turn in range(30):
        keys = [f"{turn}:{n}" for n in range(200)][::order]
        asked = (admission(Request("acme", key, "noop", {"n": 1})) for key in keys)
        receipts = await asyncio.gather(*asked)
        print(*(receipt.run_id for receipt in receipts[::order]))
    await close_database()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""
_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


async def test_two_processes_that_admit_the_same_keys_crosswise_never_deadlock(database):
    before = await hot().fetchval(_DEADLOCKS)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _CROSSED, database, order],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for order in ("1", "-1")
    ]
    for process in processes:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "ready\n"

    answers = await asyncio.gather(
        *(asyncio.to_thread(process.communicate, "go\n", timeout=60) for process in processes)
    )

    assert [process.returncode for process in processes] == [0, 0]
    assert answers[0][0] == answers[1][0] != "", "both were told of the same runs"
    assert await hot().fetchval("SELECT count(*) FROM run") == 30 * 200 + 2
    assert await hot().fetchval(_DEADLOCKS) == before


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A socket's path has 107 bytes at most."""
    folder = Path(tempfile.mkdtemp(prefix="sl-"))
    yield folder
    shutil.rmtree(folder)


async def test_a_commit_whose_answer_is_lost_is_recognised_as_our_own(database, short_folder):
    async with proxied(database, short_folder) as (proxy, url):
        await open_database(url, connections=1)
        admission = Admission(patience_s=5)
        await admission(Request("acme", "the first", "noop", {"n": 1}))
        proxy.lose_answer_to = b"lost-key"

        lost, other = await asyncio.gather(
            admission(Request("acme", "lost-key", "noop", {"n": 1})),
            admission(Request("acme", "its neighbour", "noop", {"n": 1})),
        )
        again = await admission(Request("acme", "lost-key", "noop", {"n": 1}))

        assert proxy.lost == 1
        assert (lost.replayed, other.replayed, again.replayed) == (False, False, True)
        assert lost.run_id == again.run_id
        await close_database()
    assert await hot().fetchval("SELECT count(*) FROM run") == 3


async def test_one_key_in_one_batch_is_one_run_and_another_payload_is_refused_alone(database):
    admission = Admission(patience_s=5)
    await admission(Request("acme", "warm", "noop", {"n": 0}))

    answers = await asyncio.gather(
        *(admission(Request("acme", "k", "noop", {"n": n % 2})) for n in range(10)),
        return_exceptions=True,
    )

    accepted = [each for each in answers if not isinstance(each, BaseException)]
    assert [isinstance(each, KeyReused) for each in answers] == [False, True] * 5
    assert len({each.run_id for each in accepted}) == 1
    assert [each.replayed for each in accepted] == [False, True, True, True, True]


async def test_a_culprit_in_a_batch_is_refused_alone(database):
    """A request that the database alone refuses."""
    admission = Admission(patience_s=5)
    await admission(Request("acme", "warm", "noop", {"n": 0}))
    await hot().execute("ALTER TABLE request_key ADD CONSTRAINT no_bad CHECK (key <> 'bad')")
    try:
        answers = await asyncio.gather(
            *(
                admission(Request("acme", "bad" if n == 7 else f"good {n}", "noop", {"n": n}))
                for n in range(20)
            ),
            return_exceptions=True,
        )
    finally:
        await hot().execute("ALTER TABLE request_key DROP CONSTRAINT no_bad")

    assert [n for n, each in enumerate(answers) if isinstance(each, BaseException)] == [7]
    assert await hot().fetchval("SELECT count(*) FROM run") == 20
