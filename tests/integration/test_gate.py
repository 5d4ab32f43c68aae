"""The gate: what starts, what waits, and what comes back."""

import asyncio
import time
from decimal import Decimal
from uuid import uuid4

import pytest

from models.batcher import DatabaseAway
from models.database import hot
from models.gate import GateMode, flip, follow_policy, gates
from models.run import StopReason
from models.scope import FLEET, POLICY
from models.standstill import Overruled, drained, standstill, stopped
from tests import conftest
from tests.conftest import as_if, reload, sweep
from tools.tool import Unavailable
from worker import sweeper
from worker.gatekeeper import Gatekeeper


async def shut(scope=FLEET, mode=GateMode.READ_ONLY):
    return await flip(scope, mode, who="ada", reason="a test")


async def opened(scope=FLEET):
    return await flip(scope, GateMode.OPEN, who="ada", reason="a test")


@pytest.fixture
def allowing(governed):
    """A policy that lets `probe.read` go on in safe mode."""
    governed("safe_mode: {allowed_tools: ['probe.re*']}")


async def test_in_safe_mode_an_allowed_read_goes_on_and_another_waits(
    submit, attempt, world, allowing
):
    await shut()
    allowed = await submit("five-reads", {})
    await attempt(allowed)
    other = await submit("wait", {"seconds": 0})
    await attempt(other)

    assert (await reload(allowed))["stop_reason"] == StopReason.SUCCESS
    row = await reload(other)
    assert (row["waiting_for"], row["gate_scope"], row["gate_mode"]) == ("gate", "fleet", "open")
    assert world.count("probe.wait") == 0


async def test_in_safe_mode_decisions_and_questions_go_on(submit, attempt):
    run = await submit("sure-or-ask", {"n": 50})
    await shut()

    await attempt(run)

    assert (await reload(run))["waiting_for"] == "review"


async def test_in_safe_mode_nothing_is_tried_again_on_the_spot(submit, attempt, world, allowing):
    run = await submit("five-reads", {})
    await shut()
    world.breaks("probe.read", Unavailable("away"), times=3)

    await attempt(run)

    row = await reload(run)
    assert (row["status"], row["waiting_for"]) == ("queued", "tool")
    assert world.count("probe.read") == 1


async def test_behind_a_closed_gate_a_run_parks_at_its_next_step_and_goes_on_in_safe_mode(
    submit, attempt, world, allowing
):
    run = await submit("five-reads", {})
    await shut(mode=GateMode.CLOSED)
    await attempt(run)
    parked = await reload(run)
    assert (parked["waiting_for"], parked["gate_mode"]) == ("gate", "read_only")
    assert world.calls == []

    assert await sweep() == 0, "it stays while the gate is closed"
    await shut(mode=GateMode.READ_ONLY)
    assert await sweep() == 1
    await attempt(run)

    assert (await reload(run))["stop_reason"] == StopReason.SUCCESS


async def test_behind_a_closed_gate_not_even_a_decision_is_made(submit, attempt):
    run = await submit("sure-or-ask", {"n": 5})
    await shut(mode=GateMode.CLOSED)

    await attempt(run)

    row = await reload(run)
    assert (row["waiting_for"], row["steps"]) == ("gate", 0)


@pytest.mark.parametrize("scope", ["tenant:acme", "pipeline:five-writes", "tool:probe.write"])
async def test_a_scope_stops_its_own_and_nobody_else(submit, attempt, world, scope):
    await submit("noop", {}, tenant="umbrella")  # both tenants are known
    stopped_one = await submit("five-writes", {})
    await shut(scope)
    await attempt(stopped_one)
    other = await submit("pay", {"n": 1}, tenant="umbrella")
    await attempt(other)

    row = await reload(stopped_one)
    assert (row["waiting_for"], row["gate_scope"], row["steps"]) == ("gate", scope, 0)
    assert (await reload(other))["stop_reason"] == StopReason.SUCCESS

    await opened(scope)
    await sweep()
    await attempt(stopped_one)
    assert (await reload(stopped_one))["stop_reason"] == StopReason.SUCCESS


async def test_parked_at_one_scope_a_run_is_not_let_go_by_another(submit, attempt):
    run = await submit("five-writes", {})
    await shut("tool:probe.write")
    await attempt(run)
    await shut()
    other = await submit("pay", {"n": 1})
    await attempt(other)
    await opened()

    assert await sweep() == 1
    assert (await reload(run))["gate_scope"] == "tool:probe.write"
    assert (await reload(other))["status"] == "queued"


async def test_a_parked_run_keeps_its_money_its_crashes_and_what_it_has_done(
    submit, attempt, world
):
    run = await submit("pay", {"n": 3})

    async def shuts_after_the_first(tool, args, call):
        if world.count("probe.pay") == 1:
            await shut()
        return await world(tool, args, call)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conftest.use, "invoke", shuts_after_the_first)
        await attempt(run)
    parked = await reload(run)
    done = world.count("probe.pay")

    assert (parked["waiting_for"], parked["crashes"], parked["bugs"]) == ("gate", 0, 0)
    assert parked["spent_usd"] == done * Decimal("0.10")
    assert parked["reserved_usd"] == 0
    await opened()
    await sweep()
    await attempt(run)
    row = await reload(run)
    assert (row["stop_reason"], row["steps"]) == (StopReason.SUCCESS, 3)
    assert world.count("probe.pay") == 3, "no step was done again"


async def test_parked_runs_come_back_the_oldest_first_in_cohorts_that_double(
    submit, attempt, monkeypatch
):
    runs = [await submit("five-writes", {}) for _ in range(60)]
    await shut()
    await as_if(
        "UPDATE run SET status = 'waiting', waiting_for = 'gate', dispatch_at = NULL,"
        " gate_scope = 'fleet', gate_mode = 'open'"
    )
    await opened()

    cohorts = []
    for _ in range(3):
        # Two sweepers at once are one cohort.
        await asyncio.gather(*(hot().fetch(sweeper._RELEASE) for _ in range(2)))
        cohorts.append(await hot().fetchval("SELECT count(*) FROM run WHERE status = 'queued'"))
        await hot().execute("UPDATE gate SET cohort_at = cohort_at - interval '1 s'")

    assert cohorts == [sweeper.FIRST_COHORT, 3 * sweeper.FIRST_COHORT, 60]
    first = await hot().fetch(
        "SELECT id FROM run ORDER BY dispatch_at, id LIMIT $1", sweeper.FIRST_COHORT
    )
    assert [row[0] for row in first] == sorted(runs)[: sweeper.FIRST_COHORT]


@pytest.mark.parametrize(
    ("pipeline", "tool", "n"),
    [("once-looked-up", "probe.lookup", 77), ("keyed-and-looked-up", "probe.both", 78)],
)
async def test_a_doubt_is_looked_up_in_safe_mode_and_nothing_is_sent_again(
    submit, attempt, world, pipeline, tool, n
):
    run = await submit(pipeline, {"n": n})
    world.loses_answer(tool, MemoryError("its worker dies here"))
    await attempt(run)
    await shut()
    await hot().execute("UPDATE ledger_entry SET quiet_at = now() - interval '1 s'")
    await hot().execute("UPDATE run SET dispatch_at = now() WHERE id = $1", run)

    await attempt(run)

    row = await reload(run)
    assert row["stop_reason"] == StopReason.SUCCESS, row["detail"]
    assert world.count(tool) == 1


async def test_a_worker_with_a_standing_safe_mode_writes_nothing_whatever_the_table_says(
    submit, attempt, world, governed
):
    governed("safe_mode: {enabled: true}")
    run = await submit("five-writes", {})

    await attempt(run)

    assert [row["mode"] for row in await gates()] == ["open"]
    row = await reload(run)
    assert (row["waiting_for"], row["gate_scope"], world.calls) == ("gate", POLICY, [])


async def test_a_write_that_waits_for_its_retry_is_not_sent_once_the_gate_is_shut(
    submit, attempt, world
):
    run = await submit("five-writes", {})
    world.breaks("probe.write", Unavailable("busy"))

    async def shuts(tool, args, call):
        await shut()
        return await world(tool, args, call)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conftest.use, "invoke", shuts)
        await attempt(run)

    row = await reload(run)
    assert world.count("probe.write") == 1, "the try that found the target busy"
    assert row["status"] in {"queued", "waiting"}
    assert await hot().fetchval("SELECT state FROM ledger_entry") == "released"


async def test_nothing_in_flight_is_stopped_at_once_and_drained_too(submit):
    await submit("noop", {})
    started = time.monotonic()
    await shut()

    found = await drained(FLEET, time.monotonic())

    assert (found.may_start, found.may_travel, found.in_doubt) == (0, 0, [])
    assert time.monotonic() - started < 1


async def test_stopped_waits_for_an_intent_that_may_leave_and_drained_lists_the_doubt(
    submit, attempt, world
):
    run = await submit("once", {"n": 1})
    world.loses_answer("probe.once", MemoryError("its worker dies here"))
    await attempt(run)
    begun = time.monotonic()
    await hot().execute(
        "UPDATE ledger_entry SET send_before = now() + interval '1 s',"
        " quiet_at = now() + interval '3 s'"
    )
    await shut()
    since = time.monotonic()

    first = await stopped(FLEET, since)
    stopped_after_s = time.monotonic() - begun
    last = await drained(FLEET, since)
    drained_after_s = time.monotonic() - begun

    assert 1 < stopped_after_s < drained_after_s
    assert drained_after_s > 3
    assert (first.may_start, first.may_travel) == (0, 1)
    assert [(each.run_id, each.step) for each in last.in_doubt] == [(run, "once")]


async def test_who_shut_the_gate_is_told_when_somebody_opens_it_meanwhile(submit, attempt, world):
    run = await submit("once", {"n": 1})
    world.loses_answer("probe.once", MemoryError("its worker dies here"))
    await attempt(run)
    await hot().execute("UPDATE ledger_entry SET send_before = now() + interval '1 min'")
    done = await shut()
    waiting = asyncio.create_task(stopped(FLEET, time.monotonic(), epoch=done.epoch))
    await asyncio.sleep(0.1)

    await opened()

    with pytest.raises(Overruled, match="it is open now, by ada"):
        await waiting


async def test_a_closed_entry_of_several_tries_counts_until_the_last_may_no_longer_leave(
    submit, attempt
):
    run = await submit("five-writes", {})
    await attempt(run)
    assert (await standstill(FLEET)).may_start == 0, "closed, and each had one try"

    await hot().execute("UPDATE ledger_entry SET tries = 2 WHERE step = 'write-0'")

    found = await standstill(FLEET)
    assert (found.may_start, found.in_doubt) == (1, [])


async def test_after_a_jump_of_the_databases_clock_stopped_still_waits(submit, attempt, world):
    run = await submit("once", {"n": 1})
    world.loses_answer("probe.once", MemoryError("its worker dies here"))
    await attempt(run)
    await hot().execute(
        "UPDATE ledger_entry SET send_before = now() - interval '1 h',"
        " quiet_at = now() - interval '1 h'"
    )
    await hot().execute(
        "UPDATE run SET status = 'running', lease_expires_at = now() + interval '9 s',"
        " dispatch_at = now(), worker = $1", uuid4(),
    )  # fmt: skip
    await shut()
    since = time.monotonic()

    await stopped(FLEET, since)

    assert time.monotonic() - since > 2


async def test_who_cannot_see_the_gate_starts_nothing_and_goes_on_when_it_can(
    submit, attempt, world, monkeypatch
):
    run = await submit("five-reads", {})

    async def away(self):
        raise ConnectionError("PostgreSQL is away")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worker.gatekeeper.STALE_S", -1.0)
        keeper = Gatekeeper(conftest.RULES, patience_s=0.2)
        patch.setattr(Gatekeeper, "look", away)
        held = None
        with pytest.raises(DatabaseAway):
            await keeper.admit(held, conftest.PROBES["five-reads", 1].tools["probe.read"])

    await attempt(run)
    assert (await reload(run))["stop_reason"] == StopReason.SUCCESS


async def test_the_policys_gate_opens_when_no_living_worker_holds_to_it(submit):
    me, other = uuid4(), uuid4()
    await hot().executemany(
        "INSERT INTO worker (id, host, pid, runs, safe_mode, steady_since)"
        " VALUES ($1, 'here', 1, '[]', $2, now() - interval '1 h')",
        [(me, False), (other, True)],
    )
    await flip(POLICY, GateMode.READ_ONLY, who="policy", reason="its file says so")

    await follow_policy(me, steady_s=6)
    assert [row["mode"] for row in await gates() if row["scope"] == POLICY] == ["read_only"]

    await hot().execute("DELETE FROM worker WHERE id = $1", other)
    await follow_policy(me, steady_s=6)
    assert [row["mode"] for row in await gates() if row["scope"] == POLICY] == ["open"]
