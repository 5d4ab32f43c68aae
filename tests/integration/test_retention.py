"""Retention: what is over goes after its time, and what is not over stays."""

import asyncio
import os
import subprocess
import sys

import aiohttp
import pytest

from config.settings import RetentionSettings
from models.database import hot
from models.request import KeyReused
from models.tenant import create_key
from models.tombstone import _BURY, BATCH, FIRST
from tests.conftest import document, reload
from tests.integration.test_doubt import in_doubt
from tests.service import serving
from worker.purger import Purger

DAY_S = 24 * 3600.0


async def aged(days):
    """As if everything had happened so many days earlier."""
    await hot().execute(
        "UPDATE run SET created_at = created_at - make_interval(days => $1),"
        " finished_at = finished_at - make_interval(days => $1)",
        days,
    )
    await hot().execute(
        "UPDATE tombstone SET finished_at = finished_at - make_interval(days => $1)", days
    )


async def purge():
    return await Purger(RetentionSettings()).purge()


async def counted():
    row = await hot().fetchrow(
        "SELECT (SELECT count(*) FROM request_key), (SELECT count(*) FROM run),"
        " (SELECT count(*) FROM ledger_entry), (SELECT count(*) FROM tombstone)"
    )
    return tuple(row)


async def test_payloads_go_after_a_week_and_keys_a_month_after_the_finish(submit, attempt):
    run = await submit("five-writes", {"n": 1}, key="order-1")
    await attempt(run)

    await aged(6)
    assert (await purge(), await counted()) == ((0, 0), (1, 1, 5, 0))
    await aged(2)
    assert (await purge(), await counted()) == ((1, 0), (1, 0, 0, 1))
    await aged(20)
    assert (await purge(), await counted()) == ((0, 0), (1, 0, 0, 1))
    await aged(3)
    assert (await purge(), await counted()) == ((0, 1), (0, 0, 0, 0))


async def test_a_late_duplicate_of_a_purged_run_is_told_and_makes_no_second_one(
    submit, attempt, opened
):
    run = await submit("noop", {"n": 1}, key="order-1")
    await attempt(run)
    await aged(8)
    await purge()

    assert await submit("noop", {"n": 1}, key="order-1") == run
    with pytest.raises(KeyReused, match="whose payload is purged"):
        await submit("noop", {"n": 2}, key="order-1")
    async with serving(opened) as url, aiohttp.ClientSession() as session:
        login = {"Authorization": f"Bearer {await create_key('acme')}"}
        body = {"pipeline": "noop", "input": {"n": 1}}
        again = {"Idempotency-Key": "order-1"}
        async with session.post(f"{url}/v1/runs", json=body, headers=login | again) as answer:
            posted = answer.status, await answer.json()
        async with session.get(f"{url}/v1/runs/{run}?wait=5", headers=login) as answer:
            got = answer.status, await answer.json()
        stranger = {"Authorization": f"Bearer {await create_key('umbrella')}"}
        async with session.get(f"{url}/v1/runs/{run}", headers=stranger) as answer:
            strange = answer.status

    assert (posted[0], posted[1]["replayed"], posted[1]["purged"]) == (200, True, True)
    assert (got[0], got[1]["purged"], got[1]["stop_reason"]) == (200, True, "success")
    assert "result" not in got[1]
    assert strange == 404
    assert (await counted())[:2] == (1, 0)


async def test_a_purged_run_is_shown_by_its_key(submit, attempt, opened):
    await attempt(await submit("noop", {}, key="order-1"))
    await aged(8)
    await purge()

    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "config.command", "show", "order-1"],
        env=os.environ | {"SLUICE_DATABASE_URL": opened, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "noop v1  success, finished 8 d ago; its payload was purged" in done.stdout, done.stderr


async def test_what_is_unfinished_waits_or_is_in_doubt_is_never_purged(submit, attempt, world):
    doubtful = await in_doubt(submit, attempt, world)
    parked = await submit("sure-or-ask", {"n": 50})
    await attempt(parked)
    over = await submit("once", {"n": 6})
    await hot().execute(
        "UPDATE run SET status = 'finished', stop_reason = 'cancelled', finished_at = now(),"
        " dispatch_at = NULL WHERE id = $1",
        over,
    )
    await hot().execute(
        "INSERT INTO ledger_entry (run_id, step, number, kind, tool, effect, args_hash, token,"
        " attempt, state) VALUES ($1, 'once', 1, 'call', 'probe.once', 'write_once', '',"
        " gen_random_uuid(), 1, 'in_doubt')",
        over,
    )
    queued = await submit("noop", {})
    await aged(400)

    assert await purge() == (0, 0)

    for run in (doubtful, parked, over, queued):
        assert await reload(run) is not None
    await hot().execute("UPDATE ledger_entry SET state = 'settled' WHERE run_id = $1", over)
    assert await purge() == (1, 1)


async def test_a_walk_reads_no_further_than_the_first_page_of_young_runs(submit):
    await asyncio.gather(*(submit("noop", {"n": n}, key=f"k{n}") for n in range(4 * BATCH)))
    await hot().execute("VACUUM ANALYZE run")  # as autovacuum does

    rows = await hot().fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {_BURY}", FIRST, DAY_S, BATCH)

    assert max(read_of("run", document(rows[0][0])[0]["Plan"])) <= BATCH


def read_of(table, node):
    """How many rows each look at a table has read, by the plan as it was executed."""
    if node.get("Relation Name") == table:
        yield node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    for each in node.get("Plans", ()):
        yield from read_of(table, each)


async def test_many_batches_go_in_one_round_and_two_purgers_share_them(submit, attempt):
    await asyncio.gather(*(submit("noop", {"n": n}, key=f"k{n}") for n in range(1700)))
    await hot().execute(
        "UPDATE run SET status = 'finished', stop_reason = 'success', finished_at = now(),"
        " dispatch_at = NULL"
    )
    await aged(31)

    both = await asyncio.gather(purge(), purge())

    assert sum(payloads for payloads, _ in both) == 1700
    assert await counted() == (0, 0, 0, 0)
