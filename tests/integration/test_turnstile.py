"""A run before a tool that is ill or has enough: it waits unharmed, and comes back."""

import asyncio
import time
from datetime import timedelta
from uuid import uuid4

import pytest

from config.policy import CircuitBreakers, Limits
from config.rulebook import Rulebook
from models.breaker import BreakerState, force
from models.database import hot
from models.gate import GateMode, flip
from models.run import StopReason
from models.scope import FLEET
from tests.conftest import CATALOGUE, reload
from tests.integration.test_doubt import as_if_later
from tests.integration.test_health import call, redis, settled, ward  # noqa: F401  # fixtures
from tools.permit import CallOutcome, Terms
from tools.tool import Ambiguous, Rejected, Unavailable
from worker.claim import Claims
from worker.gatekeeper import Gatekeeper
from worker.gateway import Gateway
from worker.journal import Journal
from worker.runner import Runner
from worker.turnstile import Visit

OPEN_S = 1.0
WRITE = "probe.write"


@pytest.fixture
def rulebook(tmp_path):
    def of(text):
        (tmp_path / "policy.yaml").write_text(text)
        return Rulebook(tmp_path / "policy.yaml")

    return of


@pytest.fixture
def health(ward):  # noqa: F811  # the fixture
    return ward()


@pytest.fixture
def attempt(database, health, rulebook):
    """Claim one run and bring it to its departure, as a worker with this health does."""
    book = rulebook(f"tools: {{circuit_breakers: {{open_seconds: {OPEN_S}}}}}")

    async def claim_and_run(run_id, *, book=book, before=None):
        journal = Journal(patience=timedelta(seconds=2))
        gatekeeper = Gatekeeper(book, patience_s=2)
        await gatekeeper.look()
        gateway = Gateway(journal, gatekeeper, book, health, send_before_s=2)
        runner = Runner(CATALOGUE, journal, gateway, bug_limit=3)
        found = await Claims(uuid4(), list(CATALOGUE), 9).take(50, held={})
        held = next(each for each in found if each.id == run_id)
        if before is not None:
            await before()
        await runner.run(held)
        await settled(health)
        return await reload(run_id)

    return claim_and_run


async def open_(health, tool):
    terms = Terms(CircuitBreakers(open_seconds=OPEN_S))
    await call(health, CallOutcome.FAILED, times=5, terms=terms, tool=tool)
    assert health._patients[tool].state is BreakerState.OPEN


async def due(run):
    await asyncio.sleep(OPEN_S + 0.1)
    await hot().execute("UPDATE run SET dispatch_at = now() WHERE id = $1", run)


async def entry():
    return await hot().fetchrow("SELECT state, tries, reserved_usd FROM ledger_entry")


@pytest.mark.parametrize(("pipeline", "tool"), [("five-reads", "probe.read"), ("pay", "probe.pay")])
async def test_behind_an_open_breaker_a_run_waits_unharmed_and_then_goes_on(
    submit, attempt, world, health, pipeline, tool
):
    run = await submit(pipeline, {"n": 2})
    await open_(health, tool)

    waiting = await attempt(run)
    assert (waiting["status"], waiting["waiting_for"]) == ("queued", "breaker")
    assert (waiting["crashes"], waiting["reserved_usd"], world.calls) == (0, 0, [])
    assert tuple(await entry()) == ("released", 0, 0)

    await due(run)
    assert (await attempt(run))["stop_reason"] == StopReason.SUCCESS
    assert await hot().fetchval("SELECT max(tries) FROM ledger_entry") == 1


async def test_a_run_that_waited_for_a_breaker_for_a_quarter_of_an_hour_stops_as_circuit_open(
    submit, attempt, world, health
):
    run = await submit("five-writes", {})
    await open_(health, WRITE)
    await attempt(run)
    await force(WRITE, BreakerState.OPEN, who="ada", reason="a test")
    await health.look()
    await hot().execute("UPDATE ledger_entry SET created_at = now() - interval '890 s'")
    await hot().execute("UPDATE run SET dispatch_at = now()")

    row = await attempt(run)
    left_s = await hot().fetchval("SELECT extract(epoch FROM dispatch_at - now()) FROM run")
    assert (row["status"], left_s < 10) == ("queued", True)

    await hot().execute("UPDATE ledger_entry SET created_at = now() - interval '900 s'")
    await hot().execute("UPDATE run SET dispatch_at = now()")
    assert (await attempt(run))["stop_reason"] == StopReason.CIRCUIT_OPEN
    assert world.calls == []


async def test_a_run_beyond_its_tools_rate_waits_for_its_turn_and_stops_as_tool_rate_limit(
    submit, attempt, world, rulebook
):
    book = rulebook(f"tools: {{limits: {{{WRITE}: {{per_second: 0.2}}}}}}")
    run = await submit("five-writes", {})

    row = await attempt(run, book=book)
    assert (row["status"], row["waiting_for"], world.count(WRITE)) == ("queued", "rate", 1)

    await hot().execute("UPDATE ledger_entry SET created_at = now() - interval '900 s'")
    await hot().execute("UPDATE run SET dispatch_at = now()")
    assert (await attempt(run, book=book))["stop_reason"] == StopReason.TOOL_RATE_LIMIT


async def test_a_turn_that_comes_soon_is_waited_for_in_place(submit, attempt, world, rulebook):
    book = rulebook("tools: {limits: {'probe.*': {per_second: 20}}}")
    run = await submit("five-reads", {})
    started = time.monotonic()

    row = await attempt(run, book=book)

    assert (row["stop_reason"], row["attempt"]) == (StopReason.SUCCESS, 1)
    assert time.monotonic() - started > 4 / 20


async def test_a_write_in_doubt_behind_an_open_breaker_keeps_its_entry(
    submit, attempt, world, health
):
    run = await submit("once-looked-up", {"n": 9})
    world.breaks("probe.lookup", Ambiguous("reset"))
    assert (await attempt(run))["waiting_for"] == "doubt"
    await open_(health, "probe.lookup")
    await as_if_later()

    assert (await attempt(run))["waiting_for"] == "breaker"
    assert (await entry())["state"] == "reserved"

    await due(run)
    await as_if_later()
    assert (await attempt(run))["stop_reason"] == StopReason.SUCCESS
    assert world.count("probe.lookup") == 2


@pytest.mark.parametrize("shut", [True, False])
async def test_a_permit_is_given_back_when_the_gate_or_the_budget_refuses_afterwards(
    submit, attempt, health, rulebook, world, shut
):
    book = rulebook("tools: {limits: {probe.pay: {at_once: 1, per_second: 1000}}}")
    run = await submit("pay", {"n": 4})

    async def shut_it():
        if shut:
            await flip(FLEET, GateMode.READ_ONLY, who="ada", reason="a test")

    row = await attempt(run, book=book, before=shut_it)

    if shut:
        assert (row["waiting_for"], world.calls) == ("gate", [])
    else:
        assert (row["stop_reason"], world.count("probe.pay")) == (StopReason.COST_BUDGET, 3)
    terms = Terms(limits=Limits(at_once=1))
    assert await call(health, terms=terms, tool="probe.pay") == 1


@pytest.mark.parametrize(("error", "ok", "failed"), [
    (Unavailable("connection refused"), 0, 1),
    (Ambiguous("reset"), 0, 1),
    (Rejected("not such a ticket"), 1, 0),
    (Rejected("an answer of another kind", reason=StopReason.TOOL_OUTPUT_INVALID), 0, 1),
    (Rejected("who are you?", reason=StopReason.TOOL_AUTH_FAILED), 0, 0),
    (Unavailable("slow down", reason=StopReason.TOOL_RATE_LIMIT, retry_after_s=0), 0, 0),
    (RuntimeError("a bug of ours"), 0, 0),
    (asyncio.CancelledError(), 0, 0),
])  # fmt: skip
async def test_what_an_error_says_of_its_tool(health, error, ok, failed):
    permit = await health.admit("x", Terms(), lease_s=5)

    def use():
        with Visit(health, permit) as visit:
            visit.begins()
            raise error

    with pytest.raises(type(error)):
        use()

    await settled(health)
    assert health._patients["x"].window.counts(time.monotonic())[:2] == (ok, failed)


async def test_a_result_outside_its_contract_counts_as_a_failure(submit, attempt, health):
    await attempt(await submit("lied-to", {}))

    assert health._patients["probe.lie"].window.counts(time.monotonic())[:2] == (0, 1)


async def test_runs_that_wait_are_let_go_in_cohorts_when_the_breaker_closes(
    submit, attempt, health
):
    runs = [await submit("five-writes", {}) for _ in range(40)]
    await hot().execute(
        "UPDATE run SET waiting_for = 'breaker', dispatch_at = now() + interval '10 min'"
    )

    await force(WRITE, BreakerState.CLOSED, who="ada", reason="it is well")

    rows = await hot().fetch("SELECT extract(epoch FROM dispatch_at - now())::float FROM run")
    soon = sorted(row[0] for row in rows)
    assert len(soon) == len(runs)
    assert 16 <= sum(each <= 1 for each in soon) <= 30
    assert soon[-1] < 2
