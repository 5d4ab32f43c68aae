"""One request, one run: from its record to its departure."""

from decimal import Decimal

import pytest

from models.database import hot
from models.gate import GateMode, flip
from models.run import RunStatus, StopReason
from models.scope import FLEET
from tests.conftest import as_if, document, expire_lease, reload, sweep
from tools.tool import Ambiguous, Rejected, Unavailable
from worker import use


async def due_now(run):
    await hot().execute("UPDATE run SET dispatch_at = now() WHERE id = $1", run)


async def test_a_run_finishes_with_what_its_pipeline_returned(submit, attempt):
    run = await submit("noop", {"n": 7})

    await attempt(run)

    row = await reload(run)
    assert (row["status"], row["stop_reason"]) == (RunStatus.FINISHED, StopReason.SUCCESS)
    assert document(row["result"]) == {"n": 7}


async def test_a_resumed_run_does_not_repeat_a_settled_step(submit, attempt, world, monkeypatch):
    run = await submit("five-writes", {"n": 1})

    async def dies_at_the_third(tool, args, call):
        if args.n == 2:
            world.loses_answer("probe.write", MemoryError("its worker dies here"))
            monkeypatch.setattr(use, "invoke", world)
        return await world(tool, args, call)

    monkeypatch.setattr(use, "invoke", dies_at_the_third)
    await attempt(run)
    assert (await reload(run))["waiting_for"] == "fix"
    await due_now(run)

    await attempt(run)

    row = await reload(run)
    assert row["stop_reason"] == StopReason.SUCCESS
    assert world.count("probe.write") == 6, "the write in doubt is sent again, and no other"
    assert world.keys("probe.write") == {f"{run}:write-{i}" for i in range(5)}
    assert (row["steps"], row["calls"], row["attempt"]) == (5, 5, 2)


async def test_a_run_whose_worker_fell_silent_is_taken_over_and_a_zombie_changes_nothing(
    submit, attempt, world, monkeypatch
):
    run = await submit("five-reads", {"n": 1})

    async def overtaken(tool, args, call):
        if args.n == 3:
            await expire_lease(run)
            assert await sweep() == 1
            monkeypatch.setattr(use, "invoke", world)
            await attempt(run)  # another worker takes it and finishes
        return await world(tool, args, call)

    monkeypatch.setattr(use, "invoke", overtaken)

    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], row["attempt"], row["crashes"]) == (StopReason.SUCCESS, 2, 1)
    attempts = await hot().fetch(
        "SELECT step, attempt FROM ledger_entry WHERE run_id = $1 ORDER BY number", run
    )
    assert [(r["step"], r["attempt"]) for r in attempts] == [
        ("read-0", 1), ("read-1", 1), ("read-2", 1), ("read-3", 2), ("read-4", 2),
    ]  # fmt: skip
    assert row["steps"] == 5


async def test_a_run_that_kills_every_worker_is_finished_as_crashes_exhausted(submit, attempt):
    run = await submit("noop", {})
    for _ in range(3):
        await hot().execute(
            "UPDATE run SET status = 'running', worker = gen_random_uuid(), attempt = attempt + 1,"
            " lease_expires_at = now() - interval '1 s' WHERE id = $1",
            run,
        )
        await sweep()

    row = await reload(run)
    assert (row["status"], row["stop_reason"]) == ("finished", StopReason.CRASHES_EXHAUSTED)
    assert await attempt(run) is None


async def test_a_bug_is_recorded_at_once_with_its_traceback_and_ends_the_run_the_third_time(
    submit, attempt, world
):
    run = await submit("five-reads", {})
    world.breaks("probe.read", KeyError("no such column"), times=3)

    await attempt(run)
    first = await reload(run)
    for _ in range(2):
        await due_now(run)
        await attempt(run)

    assert "KeyError: 'no such column'" in document(first["error"])["traceback"]
    assert (first["status"], first["waiting_for"], first["crashes"]) == ("queued", "fix", 0)
    assert (await reload(run))["stop_reason"] == StopReason.INTERNAL_ERROR


@pytest.mark.parametrize(("asked", "reason", "spent"), [
    (3, StopReason.SUCCESS, "0.30"),
    (4, StopReason.COST_BUDGET, "0.30"),
])  # fmt: skip
async def test_reaching_a_ceiling_is_allowed_and_breaking_it_names_the_ceiling(
    submit, attempt, world, asked, reason, spent
):
    run = await submit("pay", {"n": asked})

    await attempt(run)

    row = await reload(run)
    assert row["stop_reason"] == reason
    assert row["spent_usd"] == Decimal(spent)
    assert row["reserved_usd"] == 0
    assert world.count("probe.pay") == 3


async def test_a_ceiling_holds_across_attempts(submit, attempt, world):
    run = await submit("pay", {"n": 4})
    world.loses_answer("probe.pay", MemoryError("its worker dies here"))
    await attempt(run)
    held = await reload(run)
    assert held["reserved_usd"] == Decimal("0.10"), "what may have been spent stays reserved"
    await due_now(run)

    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], row["spent_usd"]) == (StopReason.COST_BUDGET, Decimal("0.30"))


async def test_a_refusal_is_the_steps_outcome_for_every_replay(submit, attempt, world):
    run = await submit("five-writes", {})
    world.breaks("probe.write", Rejected("no such queue"))

    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], row["detail"]) == (StopReason.TOOL_FAILED, "no such queue")
    assert world.count("probe.write") == 1
    entry = await hot().fetchrow("SELECT state FROM ledger_entry WHERE run_id = $1", run)
    assert entry["state"] == "rejected"


async def test_an_unavailable_tool_is_tried_again_and_gives_its_money_back(submit, attempt, world):
    run = await submit("pay", {"n": 3})
    world.breaks("probe.pay", Unavailable("come back"), times=2)

    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], row["spent_usd"]) == (StopReason.SUCCESS, Decimal("0.30"))
    tries = await hot().fetchval(
        "SELECT tries FROM ledger_entry WHERE run_id = $1 AND step = 'pay-0'", run
    )
    assert tries == 3


async def test_a_long_wait_is_a_snooze_that_holds_no_place_and_no_money(submit, attempt, world):
    run = await submit("pay", {"n": 1})
    world.breaks("probe.pay", Unavailable("busy", retry_after_s=60))

    await attempt(run)

    row = await reload(run)
    assert (row["status"], row["waiting_for"]) == ("queued", "tool")
    assert (row["reserved_usd"], row["crashes"], row["worker"]) == (0, 0, None)
    wait = await hot().fetchval(
        "SELECT extract(epoch FROM dispatch_at - now()) FROM run WHERE id = $1", run
    )
    assert 55 < wait <= 61
    assert await attempt(run) is None, "not before its time"


async def test_a_tool_that_stays_away_too_long_fails_the_step_for_good_and_costs_nothing(
    submit, attempt, world, governed
):
    governed("tools: {retries: {max_wait_s: 0}}")
    run = await submit("pay", {"n": 1})
    world.breaks("probe.pay", Unavailable("away"), times=50)

    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], row["detail"]) == (StopReason.TOOL_FAILED, "away")
    assert (row["spent_usd"], row["reserved_usd"]) == (0, 0)
    assert await hot().fetchval("SELECT state FROM ledger_entry") == "rejected"


async def test_a_write_whose_answer_is_lost_is_sent_again_with_the_same_key(submit, attempt, world):
    run = await submit("five-writes", {})
    world.loses_answer("probe.write", Ambiguous("connection reset"))

    await attempt(run)

    assert (await reload(run))["stop_reason"] == StopReason.SUCCESS
    first = [key for _, key in world.calls[:2]]
    assert first == [f"{run}:write-0"] * 2


async def test_no_write_starts_while_the_gate_is_shut_and_its_run_waits_unharmed(
    submit, attempt, world
):
    run = await submit("five-writes", {})
    await flip(FLEET, GateMode.READ_ONLY, who="ada", reason="a test")

    await attempt(run)

    row = await reload(run)
    assert (row["status"], row["waiting_for"], row["crashes"]) == ("waiting", "gate", 0)
    assert world.count("probe.write") == 0
    assert await hot().fetchval("SELECT count(*) FROM ledger_entry") == 0

    await flip(FLEET, GateMode.OPEN, who="ada", reason="a test")
    await sweep()
    await attempt(run)
    assert (await reload(run))["stop_reason"] == StopReason.SUCCESS


async def test_a_write_in_doubt_that_is_asked_for_with_other_arguments_is_not_sent_again(
    submit, attempt, world
):
    run = await submit("five-writes", {})
    world.loses_answer("probe.write", MemoryError("its worker dies here"))
    await attempt(run)
    await hot().execute("UPDATE ledger_entry SET args_hash = 'another'")
    await due_now(run)

    await attempt(run)

    assert (await reload(run))["stop_reason"] == StopReason.REPLAY_MISMATCH
    assert world.count("probe.write") == 1


async def test_a_pipeline_that_asks_other_things_on_resume_stops_as_a_replay_mismatch(
    submit, attempt
):
    run = await submit("five-reads", {})
    await attempt(run)
    await as_if(
        "UPDATE run SET status = 'queued', dispatch_at = now(), stop_reason = NULL,"
        " finished_at = NULL WHERE id = $1",
        run,
    )
    await hot().execute(
        "UPDATE ledger_entry SET args_hash = '\\x00' WHERE run_id = $1 AND step = 'read-2'", run
    )

    await attempt(run)

    row = await reload(run)
    assert row["stop_reason"] == StopReason.REPLAY_MISMATCH
    assert "read-2" in row["detail"]


async def test_an_input_that_no_longer_fits_stops_the_run_as_invalid_input(submit, attempt):
    run = await submit("noop", {})
    await hot().execute("UPDATE run SET input = '{\"m\": 1}' WHERE id = $1", run)

    await attempt(run)

    assert (await reload(run))["stop_reason"] == StopReason.INVALID_INPUT


async def test_attempt_can_never_fall(submit):
    run = await submit("noop", {})
    await hot().execute("UPDATE run SET attempt = 5 WHERE id = $1", run)

    with pytest.raises(Exception, match="attempt may not fall from 5 to 4"):
        await hot().execute("UPDATE run SET attempt = 4 WHERE id = $1", run)
