"""Runs that go round in circles end, each with the call that completes the circle."""

import pytest

from models.database import hot
from models.review import Verdict
from models.run import StopReason
from models.verdict import answer
from tests.conftest import as_if, document, reload
from tests.pipelines import SHELF, TICKS
from tools.tool import Rejected


@pytest.fixture
def plan(submit):
    """A run that does these steps, one line of `tests/pipelines.py:planned` each."""

    async def submitted(*steps):
        return await submit("plan", {"steps": list(steps)})

    return submitted


async def outcome(run):
    """Why it ended, how many calls are recorded, and what it had kept by then."""
    row = await reload(run)
    calls = await hot().fetchval(
        "SELECT count(*) FROM ledger_entry WHERE run_id = $1 AND kind = 'call'"
        " AND state IN ('settled', 'rejected', 'undone')",
        run,
    )
    kept = document(row["partial"]) or {"n": 0}
    return row["stop_reason"], calls, kept["n"]


async def dies_after(run, attempt, world, steps):
    """An attempt that ends with its worker once so many calls are recorded."""
    let_through = world.invoke

    async def invoke(tool, args, call):
        if len(world.calls) > steps:
            raise MemoryError("its worker dies here")
        return await let_through(tool, args, call)

    world.invoke = invoke
    await attempt(run)
    world.invoke = let_through
    world.calls.clear()
    assert (await reload(run))["waiting_for"] == "fix"
    await hot().execute("UPDATE run SET dispatch_at = now() WHERE id = $1", run)


async def test_the_third_identical_call_is_recorded_and_ends_the_run(plan, attempt, world):
    run = await plan(*["read 1"] * 10)

    await attempt(run)

    assert await outcome(run) == (StopReason.LOOP_DETECTED, 3, 2)
    row = await reload(run)
    assert "3 times the same came of the same call: probe.read" in row["detail"]
    assert (world.count("probe.read"), row["result"]) == (3, None)


async def test_identical_calls_with_other_results_are_no_loop(plan, attempt):
    run = await plan(*["tick 1"] * 10)

    await attempt(run)

    assert await outcome(run) == (StopReason.SUCCESS, 10, 10)
    assert len(TICKS) >= 10


@pytest.mark.parametrize(("recorded", "again"), [(1, 2), (2, 1)])
async def test_a_resumed_run_comes_to_the_same_verdict(plan, attempt, world, recorded, again):
    run = await plan(*["write 1"] * 10)
    await dies_after(run, attempt, world, recorded)

    await attempt(run)

    assert await outcome(run) == (StopReason.LOOP_DETECTED, 3, 2)
    assert world.count("probe.write") == again


async def test_a_run_that_had_ended_in_a_loop_ends_there_again_and_calls_nothing(
    plan, attempt, world
):
    """Its worker died with the departure in hand."""
    run = await plan(*["read 1"] * 10)
    await attempt(run)
    await as_if(
        "UPDATE run SET status = 'queued', stop_reason = NULL, finished_at = NULL,"
        " dispatch_at = now() WHERE id = $1",
        run,
    )
    world.calls.clear()

    await attempt(run)

    assert await outcome(run) == (StopReason.LOOP_DETECTED, 3, 2)
    assert world.calls == []


async def test_two_calls_in_turn_are_a_loop(plan, attempt, governed):
    run = await plan("write 1", "read 1", *["read 2", "read 3"] * 5)

    await attempt(run)

    assert await outcome(run) == (StopReason.LOOP_DETECTED, 6, 5)
    assert "2 times the same 2 calls in turn" in (await reload(run))["detail"]

    governed("agent: {loop_detection: {repeated_calls_threshold: 9, alternating_threshold: 3}}")
    run = await plan(*["read 2", "read 3"] * 5)
    await attempt(run)

    assert await outcome(run) == (StopReason.LOOP_DETECTED, 6, 5)


async def test_six_calls_that_bring_nothing_new_are_no_progress(plan, attempt):
    reads = [f"read {n}" for n in range(6)]
    run = await plan(*reads, *reads, *reads)

    await attempt(run)

    assert await outcome(run) == (StopReason.NO_PROGRESS, 12, 11)
    assert "6 calls in a row brought nothing new" in (await reload(run))["detail"]


async def test_four_caught_failures_in_a_row_are_no_progress_before_and_after_a_crash(
    plan, attempt, world
):
    absent, dies = Rejected("there is no such ticket"), MemoryError("its worker dies here")
    world.broken["probe.read"] = [absent, absent, absent, dies, absent, absent]
    run = await plan(*[f"read {n}" for n in range(9)])
    await attempt(run)
    assert (await outcome(run))[1] == 2
    await hot().execute("UPDATE run SET dispatch_at = now() WHERE id = $1", run)

    await attempt(run)

    assert await outcome(run) == (StopReason.NO_PROGRESS, 4, 3)
    assert world.count("probe.read") == 5


async def test_a_tool_that_is_polled_may_say_the_same_for_ever(plan, attempt):
    run = await plan("read 1", *["poll 1"] * 20, "read 1", "poll 1")

    await attempt(run)

    assert await outcome(run) == (StopReason.SUCCESS, 23, 23)


async def test_polling_does_not_hide_a_loop(plan, attempt):
    run = await plan(*["read 1", "poll 1"] * 10)

    await attempt(run)

    assert await outcome(run) == (StopReason.LOOP_DETECTED, 5, 4)


async def test_something_new_written_between_makes_the_same_question_a_new_one(plan, attempt):
    steps = [step for n in range(8) for step in ("read 1", f"write {n}")]
    run = await plan(*steps)

    await attempt(run)

    assert await outcome(run) == (StopReason.SUCCESS, 16, 16)


async def test_calls_side_by_side_are_one_step_of_a_loop_before_and_after_a_crash(
    plan, attempt, world
):
    once = " + ".join(["read 1"] * 10)
    distinct = " + ".join(f"write {n}" for n in range(10))
    assert await _ended(plan, attempt, once, distinct) == (StopReason.SUCCESS, 20, 2)

    run = await plan(*["write 1 + write 2"] * 10)
    world.calls.clear()
    await dies_after(run, attempt, world, 3)
    await attempt(run)

    assert await outcome(run) == (StopReason.LOOP_DETECTED, 6, 2)


async def _ended(plan, attempt, *steps):
    run = await plan(*steps)
    await attempt(run)
    return await outcome(run)


async def test_a_decision_between_is_no_progress_and_a_persons_answer_is(plan, attempt):
    decided = await _ended(plan, attempt, *["read 1", "guess 1"] * 5)
    assert decided == (StopReason.LOOP_DETECTED, 3, 4)

    run = await plan(*["read 1", "ask 1"] * 5)
    for _ in range(5):
        await attempt(run)
        review = await hot().fetchval("SELECT id FROM review WHERE verdict IS NULL")
        await answer(review, Verdict.APPROVED, who="ann")
    await attempt(run)

    assert await outcome(run) == (StopReason.SUCCESS, 5, 10)


async def test_taking_back_is_never_cut_short_as_a_loop(plan, attempt):
    """Three equal things, put with a person's consent, are taken back by three equal calls."""
    run = await plan("read 0", "put 7", "ask 1", "put 7", "ask 1", "put 7", "back 0")
    for _ in range(2):
        await attempt(run)
        review = await hot().fetchval("SELECT id FROM review WHERE verdict IS NULL")
        await answer(review, Verdict.APPROVED, who="ann")

    await attempt(run)

    assert await outcome(run) == (StopReason.SUCCESS, 7, 7)
    assert 7 not in SHELF
