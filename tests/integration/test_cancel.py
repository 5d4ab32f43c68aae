"""Cancelling: by whom, when, and what becomes of what is under way."""

import asyncio
import os
import subprocess
import sys

import aiohttp

from models.cancel import cancel
from models.database import hot
from models.run import RunStatus
from models.tenant import create_key
from tests.conftest import reload, sweep, until
from tests.integration.test_doubt import in_doubt
from tests.integration.test_recovery import held
from tests.service import serving


async def test_a_run_that_waits_is_cancelled_at_once(submit, attempt):
    parked = await submit("sure-or-ask", {"n": 50})
    await attempt(parked)
    queued = await submit("noop", {})

    for run in (queued, parked):
        assert await cancel(run, who="ann", reason="wrong queue") is RunStatus.FINISHED
        row = await reload(run)
        assert (row["stop_reason"], row["detail"]) == (
            "cancelled",
            "cancelled by ann: wrong queue",
        )
    assert await hot().fetchval("SELECT verdict FROM review") == "withdrawn"
    assert await attempt(queued) is None


async def test_a_doubt_outlives_its_cancelled_run_and_has_no_end(submit, attempt, world):
    run = await in_doubt(submit, attempt, world)

    await cancel(run, who="ann", reason="")

    review = await hot().fetchrow("SELECT kind, verdict, decide_by FROM review")
    assert (await reload(run))["stop_reason"] == "cancelled"
    assert tuple(review) == ("in_doubt", None, None)


async def test_a_run_that_is_over_stays_what_it_is(submit, attempt):
    run = await submit("noop", {})
    await attempt(run)

    assert await cancel(run, who="ann", reason="") is RunStatus.FINISHED
    assert (await reload(run))["stop_reason"] == "success"


async def test_a_tenant_cannot_cancel_anothers_run(submit):
    run = await submit("noop", {}, tenant="acme")

    await cancel(run, who="eve", reason="", tenant="umbrella")

    assert (await reload(run))["status"] == "queued"


async def test_a_running_run_is_cancelled_with_its_workers_next_heartbeat(submit, fleet):
    fleet.workers(1, WORKER__LEASE_S="3", WORKER__HEARTBEAT_S="1")
    run = await submit("wait", {"seconds": 25})
    await until(lambda: hot().fetchval("SELECT count(*) = 1 FROM run WHERE status = 'running'"))

    assert await cancel(run, who="ann", reason="") is RunStatus.RUNNING
    await until(lambda: hot().fetchval("SELECT count(*) = 1 FROM run WHERE status = 'finished'"))

    row = await reload(run)
    assert (row["stop_reason"], row["crashes"]) == ("cancelled", 0)
    assert row["active_s"] < 20


async def test_a_cancelled_run_brings_its_write_to_an_end(submit, fleet):
    fleet.workers(1, WORKER__LEASE_S="3", WORKER__HEARTBEAT_S="1")
    run = await submit("slow-and-more", {"seconds": 4})
    await until(lambda: hot().fetchval("SELECT count(*) FROM ledger_entry"))

    await cancel(run, who="ann", reason="")
    await until(lambda: hot().fetchval("SELECT count(*) = 1 FROM run WHERE status = 'finished'"))

    entries = await hot().fetch("SELECT step, state FROM ledger_entry")
    assert [tuple(each) for each in entries] == [("slow", "settled")]
    assert (await reload(run))["stop_reason"] == "cancelled"


async def test_a_cancelled_run_whose_worker_dies_is_not_done_again(submit):
    run = await submit("noop", {})
    await held(run)
    await cancel(run, who="ann", reason="")

    await sweep()

    row = await reload(run)
    assert (row["status"], row["stop_reason"]) == ("finished", "cancelled")


async def test_a_run_that_left_to_sleep_while_it_was_cancelled_is_ended(submit):
    run = await submit("noop", {})
    await held(run)
    await cancel(run, who="ann", reason="")
    await hot().execute(
        "UPDATE run SET status = 'queued', dispatch_at = now() + interval '1 h', worker = NULL,"
        " lease_expires_at = NULL"
    )

    await asyncio.gather(sweep(), sweep())

    assert (await reload(run))["stop_reason"] == "cancelled"


async def test_a_client_cancels_its_own_run_and_nobody_elses(submit, opened):
    run = await submit("noop", {})
    async with serving(opened) as url, aiohttp.ClientSession() as session:

        async def post(tenant, body):
            headers = {"Authorization": f"Bearer {await create_key(tenant)}"}
            async with session.post(
                f"{url}/v1/runs/{run}/cancel", json=body, headers=headers
            ) as answer:
                return answer.status, await answer.json()

        strange, _ = await post("umbrella", {})
        odd, problem = await post("acme", {"why": "x"})
        nul, _ = await post("acme", {"reason": "a\x00b"})
        status, told = await post("acme", {"reason": "ordered twice"})
        again, _ = await post("acme", {})

    assert (strange, odd, nul, status, again) == (404, 400, 400, 200, 200)
    assert "known: reason" in problem["detail"]
    assert (told["stop_reason"], told["detail"]) == (
        "cancelled",
        "cancelled by acme: ordered twice",
    )


async def test_an_operator_cancels_by_key_and_is_told_what_became_of_it(submit, opened):
    await submit("noop", {}, key="order-7")

    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "config.command", "cancel", "order-7", "--reason", "typo"],
        env=os.environ | {"SLUICE_DATABASE_URL": opened, "USER": "ann"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "it is over: cancelled\n"), done.stderr
    assert await hot().fetchval("SELECT detail FROM run") == "cancelled by ann: typo"
