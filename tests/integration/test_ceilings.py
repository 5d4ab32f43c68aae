"""The six ceilings of a run: at one is allowed, past it stops by name; a crash changes nothing."""

import asyncio

import pytest

from models.database import hot
from models.review import Verdict
from models.run import StopReason
from models.verdict import answer
from tests.conftest import document, expire_lease, finished, fleet_of, reload, sweep, until
from tools.tool import Unavailable
from worker.outcome import LostLease

CEILINGS = [
    ("max_steps: 3", StopReason.STEP_BUDGET),
    ("max_tool_calls: 3", StopReason.TOOL_BUDGET),
    ("max_unique_calls: 3", StopReason.TOOL_BUDGET),
    ("max_usd: 0.03", StopReason.COST_BUDGET),
]
each_ceiling = pytest.mark.parametrize(("ceiling", "reason"), CEILINGS, ids=lambda each: each)
READ = "spend.step"


def policy(ceiling: str) -> str:
    return f"agent: {{budgets: {{{ceiling}}}}}"


async def dies_in_a_call(attempt, world, run) -> None:
    """Its worker is gone in the midst of the next call, and is noticed to be."""
    world.breaks(READ, LostLease())
    await attempt(run)
    await expire_lease(run)
    assert await sweep() == 1


@each_ceiling
async def test_at_a_ceiling_is_allowed(submit, attempt, governed, ceiling, reason):
    governed(policy(ceiling))
    run = await submit("climb", {"n": 3})

    await attempt(run)

    assert (await reload(run))["stop_reason"] == StopReason.SUCCESS


@each_ceiling
async def test_past_a_ceiling_a_run_stops_by_its_name_and_keeps_what_it_has(
    submit, attempt, world, governed, ceiling, reason
):
    governed(policy(ceiling))
    run = await submit("climb", {"n": 4})

    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], document(row["partial"])) == (reason, {"n": 3})
    assert world.count(READ) == 3, "the call past it was not made"


@each_ceiling
@pytest.mark.parametrize("n", [3, 4])
async def test_across_a_crash_and_a_restart_the_ceiling_is_the_same(
    submit, attempt, world, governed, ceiling, reason, n
):
    governed(policy(ceiling))
    run = await submit("climb", {"n": n})
    world.loses_answer(READ, LostLease())  # the first call was made, and is not settled
    await attempt(run)
    await expire_lease(run)
    await sweep()
    world.breaks(READ, Unavailable("busy", retry_after_s=60))
    await attempt(run)
    await hot().execute("UPDATE run SET dispatch_at = now()")

    await attempt(run)

    row = await reload(run)
    assert (row["crashes"], row["attempt"]) == (1, 3)
    assert row["stop_reason"] == (StopReason.SUCCESS if n == 3 else reason)
    assert (row["steps"], row["calls"]) == (3, 3)
    assert document(row["partial"]) == {"n": 3}


async def test_the_same_call_again_is_no_further_unique_one(submit, attempt, governed):
    governed(policy("max_unique_calls: 2"))
    run = await submit("climb", {"n": 2, "same": 2})

    await attempt(run)

    assert (await reload(run))["stop_reason"] == StopReason.SUCCESS


@pytest.mark.parametrize(("used", "reason"), [
    (100, StopReason.SUCCESS), (101, StopReason.TOKEN_BUDGET),
])  # fmt: skip
async def test_tokens_of_earlier_attempts_count(submit, attempt, world, governed, used, reason):
    governed(policy("max_tokens: 100"))
    run = await submit("climb", {"n": 2})
    await dies_in_a_call(attempt, world, run)
    await hot().execute("UPDATE run SET tokens = $1 WHERE id = $2", used, run)

    await attempt(run)

    assert (await reload(run))["stop_reason"] == reason


async def test_seconds_end_a_run_in_the_midst_and_it_keeps_what_it_has(submit, attempt, governed):
    governed(policy("max_seconds: 0.5"))
    short = await submit("climb", {"n": 2, "seconds": 0.1})
    await attempt(short)
    long = await submit("climb", {"n": 4, "seconds": 0.2})
    await attempt(long)

    assert (await reload(short))["stop_reason"] == StopReason.SUCCESS
    row = await reload(long)
    assert (row["stop_reason"], document(row["partial"])) == (StopReason.TIME_BUDGET, {"n": 2})


async def test_waiting_for_a_person_is_no_active_time(submit, attempt, governed):
    governed(policy("max_seconds: 0.6"))
    run = await submit("climb", {"n": 2, "seconds": 0.1, "ask": True})
    await attempt(run)
    await asyncio.sleep(0.8)
    review = await hot().fetchval("SELECT id FROM review WHERE run_id = $1", run)
    await answer(review, Verdict.APPROVED, who="ada")

    await attempt(run)

    row = await reload(run)
    assert row["stop_reason"] == StopReason.SUCCESS
    assert row["active_s"] < 0.6


async def test_active_seconds_survive_the_worker_that_used_them(submit, database, tmp_path):
    """All but what it used since its last heartbeat."""
    rules = tmp_path / "policy.yaml"
    rules.write_text(policy("max_seconds: 3"))
    quick = {"WORKER__LEASE_S": "0.9", "WORKER__HEARTBEAT_S": "0.3", "POLICY": str(rules)}
    run = await submit("wait", {"seconds": 20})
    with fleet_of(database, None, tmp_path) as fleet:
        worker = fleet.workers(1, **quick)[0]
        await until(lambda: hot().fetchval("SELECT active_s > 1.5 FROM run"))
        worker.kill()
        used = (await reload(run))["active_s"]

        fleet.workers(1, **quick)
        await until(lambda: finished(1))

    row = await reload(run)
    assert (row["stop_reason"], row["crashes"]) == (StopReason.TIME_BUDGET, 1)
    assert 1.5 < used < row["active_s"] < 3.5
