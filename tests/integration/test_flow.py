"""The verbs of a pipeline: call, decide, ask, partial, all and each."""

import pytest

from models.database import hot
from models.review import Verdict
from models.run import StopReason
from models.verdict import BadAnswer, NotOpen, answer
from tests.conftest import CATALOGUE, document, reload, sweep
from tests.pipelines import Value
from tools.tool import Rejected, Unavailable
from worker.decision import Answer, Decision
from worker.flow import Flow
from worker.pipeline import pipeline

ENDLESS = Decision("endless", "How much?", Answer, Answer(confidence=1), bar=0.5)


@pipeline("asks-of-infinity", version=1)
async def asks_of_infinity(flow: Flow, given: Value) -> Value:
    """A number that JSON has no word for, as a division may come to."""
    await flow.decide("endless", ENDLESS, most=float("inf"))
    return given


CATALOGUE |= {("asks-of-infinity", 1): asks_of_infinity}


async def review_of(run):
    return await hot().fetchval(
        "SELECT id FROM review WHERE run_id = $1 AND verdict IS NULL ORDER BY step", run
    )


async def test_a_sure_decision_asks_nobody(submit, attempt):
    run = await submit("sure-or-ask", {"n": 3})

    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], document(row["result"])) == (StopReason.SUCCESS, {"n": 3})
    kinds = await hot().fetch("SELECT kind FROM ledger_entry ORDER BY number")
    assert [each["kind"] for each in kinds] == ["decide", "call"]


async def test_below_the_bar_a_run_parks_holding_nothing_and_goes_on_when_approved(
    submit, attempt, world
):
    run = await submit("sure-or-ask", {"n": 50})
    await attempt(run)
    parked = await reload(run)

    await answer(await review_of(run), Verdict.APPROVED, who="ann")
    await attempt(run)

    assert (parked["status"], parked["waiting_for"], parked["worker"]) == (
        "waiting",
        "review",
        None,
    )
    row = await reload(run)
    assert (document(row["result"]), row["steps"]) == ({"n": 0}, 3)
    assert world.count("probe.write") == 1


async def test_an_edited_answer_is_what_the_run_goes_on_with(submit, attempt):
    run = await submit("sure-or-ask", {"n": 50})
    await attempt(run)

    await answer(await review_of(run), Verdict.EDITED, who="ann", value={"n": 42, "confidence": 1})
    await attempt(run)

    assert document((await reload(run))["result"]) == {"n": 42}


async def test_an_edit_that_does_not_fit_changes_nothing(submit, attempt):
    run = await submit("sure-or-ask", {"n": 50})
    await attempt(run)
    review = await review_of(run)

    with pytest.raises(BadAnswer, match="/n"):
        await answer(review, Verdict.EDITED, who="ann", value={"n": -1, "confidence": 1})

    assert await review_of(run) == review
    assert (await reload(run))["status"] == "waiting"


async def test_a_rejected_run_ends_and_a_review_is_never_decided_twice(submit, attempt, world):
    run = await submit("sure-or-ask", {"n": 50})
    await attempt(run)
    review = await review_of(run)

    await answer(review, Verdict.REJECTED, who="ann", note="too many")
    with pytest.raises(NotOpen):
        await answer(review, Verdict.APPROVED, who="bob")
    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], row["detail"]) == (StopReason.REVIEW_REJECTED, "too many")
    assert world.count("probe.write") == 0


async def test_what_nobody_answers_in_time_is_denied(submit, attempt):
    run = await submit("sure-or-ask", {"n": 50})
    await attempt(run)
    await hot().execute("UPDATE review SET decide_by = now() - interval '1 s'")

    with pytest.raises(NotOpen):
        await answer(await review_of(run), Verdict.APPROVED, who="ann")
    await sweep()
    await attempt(run)

    assert (await reload(run))["stop_reason"] == StopReason.REVIEW_EXPIRED


async def test_questions_side_by_side_are_asked_at_once_and_the_last_answer_lets_the_run_go_on(
    submit, attempt
):
    run = await submit("many-asks", {"n": 3})
    await attempt(run)
    assert await hot().fetchval("SELECT count(*) FROM review WHERE verdict IS NULL") == 3

    for _ in range(2):
        await answer(await review_of(run), Verdict.APPROVED, who="ann")
    assert (await reload(run))["status"] == "waiting"
    await answer(await review_of(run), Verdict.APPROVED, who="ann")
    await attempt(run)

    assert document((await reload(run))["result"]) == {"n": 3}


async def test_a_hundred_steps_side_by_side_are_a_hundred_entries(submit, attempt):
    run = await submit("fan-out", {"n": 100})

    await attempt(run)

    row = await reload(run)
    assert document(row["result"]) == {"n": sum(range(100))}
    assert row["steps"] == 101


async def test_a_run_that_stops_keeps_its_partial_result(submit, attempt, world):
    run = await submit("fan-out", {"n": 3})
    world.breaks("probe.write", Rejected("closed on Sundays"))

    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], document(row["partial"])) == (StopReason.TOOL_FAILED, {"n": 3})
    assert row["result"] is None


async def test_a_failure_may_be_caught_and_its_replay_is_caught_again(submit, attempt, world):
    run = await submit("forgiving", {})
    world.breaks("probe.read", Rejected("first fails"))

    await attempt(run)

    assert document((await reload(run))["result"]) == {"n": 2}


async def test_no_pipeline_can_swallow_an_outcome(submit, attempt, world):
    run = await submit("forgiving", {})
    world.breaks("probe.read", Unavailable("later", retry_after_s=30))

    await attempt(run)

    row = await reload(run)
    assert (row["status"], row["waiting_for"]) == ("queued", "tool")
    assert world.count("probe.read") == 1


@pytest.mark.parametrize(("pipeline", "reason", "told"), [
    ("undeclared", StopReason.TOOL_DENIED, "does not declare probe.write"),
    ("destructive", StopReason.TOOL_DENIED, "no run executes it"),
    ("lied-to", StopReason.TOOL_OUTPUT_INVALID, "outside its contract"),
])  # fmt: skip
async def test_the_gateway_refuses_what_no_run_may_do(
    submit, attempt, world, pipeline, reason, told
):
    run = await submit(pipeline, {"n": 1})

    await attempt(run)

    row = await reload(run)
    assert row["stop_reason"] == reason
    assert told in row["detail"]
    assert world.count("probe.write") + world.count("probe.destroy") == 0


async def test_a_step_name_used_twice_is_a_bug_that_is_told(submit, attempt):
    run = await submit("twice-the-name", {})

    await attempt(run)

    assert "'same'" in (await reload(run))["detail"]


async def test_a_run_out_of_time_stops_in_the_middle_of_a_call(submit, attempt):
    run = await submit("short-of-time", {"seconds": 20})

    await attempt(run)

    row = await reload(run)
    assert row["stop_reason"] == StopReason.TIME_BUDGET
    assert row["active_s"] < 2


async def test_a_write_that_has_left_is_awaited_and_recorded_though_its_run_is_out_of_time(
    submit, attempt
):
    run = await submit("slow-write", {"seconds": 1})

    await attempt(run)

    row = await reload(run)
    entry = await hot().fetchrow("SELECT state, result FROM ledger_entry")
    assert row["stop_reason"] == StopReason.TIME_BUDGET
    assert (entry["state"], document(entry["result"])) == ("settled", {"seconds": 1.0})


async def test_a_decision_about_a_number_without_end_is_recorded(submit, attempt):
    run = await submit("asks-of-infinity", {"n": 1})

    await attempt(run)

    row = await reload(run)
    assert row["stop_reason"] == StopReason.SUCCESS, row["detail"]
