"""The retry budget: what a tool's good calls earn, and a little more, is tried again; no more."""

import asyncio
import time
from uuid import uuid4

import pytest

from config.policy import CircuitBreakers, Limits, Overlay, Retries
from models.database import hot
from models.run import StopReason, WaitingFor
from tests.integration.test_doubt import as_if_later
from tests.integration.test_health import (  # noqa: F401  # fixtures
    call,
    redis,
    script_calls,
    settled,
    ward,
)
from tests.integration.test_turnstile import attempt, entry, health, rulebook  # noqa: F401  # same
from tools.limiter import LONGEST_TURN_S
from tools.permit import BUDGET_KEPT_S, CallOutcome, Refused, Terms
from tools.tool import Ambiguous, Unavailable

NO_BREAKERS = CircuitBreakers(enabled=False)
PER_S = 2.0
TERMS = Terms(NO_BREAKERS, retries=Retries(budget_per_second=PER_S))
KEPT = int(PER_S * BUDGET_KEPT_S)
STINGY = "{budget_per_second: 0.1}"
"""One further try is kept, and the next one earned in ten seconds."""


async def again(worker, times, terms=TERMS):
    """Asks for further tries, side by side. Returns the permits and the refusals."""
    asked = await asyncio.gather(
        *(worker.admit("x", terms, lease_s=5, again=True) for _ in range(times)),
        return_exceptions=True,
    )
    refusals = [each for each in asked if isinstance(each, Refused)]
    return [each for each in asked if each not in refusals], refusals


async def test_the_whole_fleet_tries_again_no_more_often_than_the_budget_earns(ward):  # noqa: F811
    one, two = ward(), ward()

    first = await asyncio.gather(again(one, 40), again(two, 40))
    await asyncio.sleep(2)
    later, refused = await again(two, 40)

    assert sum(len(permits) for permits, _ in first) == KEPT
    assert 2 * PER_S <= len(later) <= 3 * PER_S, "no more than was earned meanwhile"
    assert {each.waiting for each in refused} == {WaitingFor.TOOL}
    waits = sorted(each.wait_s for _, refusals in first for each in refusals)
    assert waits[0] < 3
    assert waits[-1] > (80 - KEPT) / PER_S * 0.8, "each is told to come in its turn"


async def test_successes_earn_a_tenth_of_themselves(ward):  # noqa: F811
    terms = Terms(CircuitBreakers(window_seconds=30), retries=Retries(budget_per_second=0.1))
    one, two = ward(), ward()
    for each in (one, two):
        await call(each, times=300, terms=terms)
        await each.look()

    permits, _ = await again(one, 80, terms)

    earned_per_s = 0.1 + 0.1 * 600 / 30
    assert len(permits) == int(earned_per_s * BUDGET_KEPT_S)


async def test_a_first_try_is_never_held_back_and_costs_no_round_trip(ward, redis):  # noqa: F811
    one = ward()
    await call(one, terms=TERMS)
    _, refused = await again(one, 99)
    before = await script_calls(redis)

    assert await call(one, times=200, terms=TERMS) == 200

    assert refused
    assert await script_calls(redis) == before


async def test_a_further_try_takes_breaker_limits_and_budget_in_one_round_trip(ward, redis):  # noqa: F811
    terms = Terms(limits=Limits(per_second=1000, burst=9, at_once=9), retries=Retries())
    one = ward()
    await call(one, terms=terms)
    before = await script_calls(redis)

    await one.admit("x", terms, lease_s=5, again=True)

    assert await script_calls(redis) == before + 1


@pytest.mark.parametrize("alone", [False, True])
async def test_a_further_try_that_was_not_made_is_not_paid(ward, alone):  # noqa: F811
    one = ward(alone=alone)
    permits, refused = await again(one, KEPT + 1)
    assert (len(permits), len(refused)) == (KEPT, 1)

    for each in permits[:5]:
        one.report(each, CallOutcome.UNUSED)
    await settled(one)

    assert len((await again(one, 9))[0]) == 5


async def test_without_redis_each_worker_has_its_share_of_the_budget(ward):  # noqa: F811
    alone = ward(alone=True)
    for _ in range(4):
        await hot().execute(
            "INSERT INTO worker (id, host, pid, runs) VALUES ($1, 'here', 1, '[]')", uuid4()
        )
    await alone.look()

    permits, refused = await again(alone, 30)
    await asyncio.sleep(2.1)
    later, _ = await again(alone, 5)

    assert len(permits) == KEPT / 4
    assert len(later) == 1, "half a second's worth in each"
    assert LONGEST_TURN_S < max(each.wait_s for each in refused) < 1.5 * LONGEST_TURN_S


async def test_a_budget_that_redis_forgot_is_the_fleets_again(ward, redis):  # noqa: F811
    one = ward()
    await again(one, 99)

    await redis.flushdb()

    assert len((await again(one, 99))[0]) == KEPT, "what was paid is forgotten, and no more"


async def test_a_run_whose_tool_is_out_of_budget_waits_and_then_goes_on(
    submit, attempt, world, health, rulebook  # noqa: F811
):  # fmt: skip
    book = rulebook(f"tools: {{retries: {STINGY}}}")
    world.breaks("probe.read", Unavailable("connection refused"), times=2)
    run = await submit("five-reads", {})

    row = await attempt(run, book=book)
    assert (row["status"], row["waiting_for"], row["crashes"]) == ("queued", "tool", 0)
    assert world.count("probe.read") == 2, "one further try was kept"
    assert tuple(await entry())[:2] == ("released", 2)
    waits_s = await hot().fetchval("SELECT extract(epoch FROM dispatch_at - now()) FROM run")
    assert 7 < waits_s < 12

    await hot().execute("UPDATE run SET dispatch_at = now()")
    await health._board._redis.flushdb()  # as if it had been earned
    assert (await attempt(run, book=book))["stop_reason"] == StopReason.SUCCESS
    assert world.count("probe.read") == 2 + 5


async def test_a_write_in_doubt_waits_for_its_turn_and_is_never_lost(
    submit, attempt, world, health, rulebook  # noqa: F811
):  # fmt: skip
    book = rulebook(f"tools: {{retries: {STINGY}}}")
    world.loses_answer("probe.write", Ambiguous("reset"), times=3)
    run = await submit("five-writes", {})

    row = await attempt(run, book=book)
    assert (row["status"], row["waiting_for"]) == ("queued", "tool")
    assert (await entry())["state"] == "reserved", "it may have happened"
    sent = world.count("probe.write")
    await hot().execute("UPDATE run SET dispatch_at = now()")
    assert (await attempt(run, book=book))["waiting_for"] == "tool"
    assert world.count("probe.write") == sent, "the budget is empty still"

    await hot().execute("UPDATE run SET dispatch_at = now()")
    await health._board._redis.flushdb()
    world.after.clear()
    await as_if_later()
    assert (await attempt(run, book=book))["stop_reason"] == StopReason.SUCCESS
    assert len(world.keys("probe.write")) == 5, "the same key again"


async def test_a_run_that_waited_for_budget_for_a_quarter_of_an_hour_fails_as_its_tool_did(
    submit, attempt, world, rulebook  # noqa: F811
):  # fmt: skip
    book = rulebook(f"tools: {{retries: {STINGY}}}")
    world.breaks("probe.read", Unavailable("connection refused"), times=2)
    run = await submit("five-reads", {})
    await attempt(run, book=book)

    await hot().execute("UPDATE ledger_entry SET created_at = now() - interval '900 s'")
    await hot().execute("UPDATE run SET dispatch_at = now()")

    assert (await attempt(run, book=book))["stop_reason"] == StopReason.TOOL_FAILED
    assert world.count("probe.read") == 2


def test_no_overlay_changes_a_budget_that_the_fleet_shares():
    with pytest.raises(ValueError, match=r"retries\.budget_share"):
        Overlay(tools={"retries": {"budget_share": 1}})
    Overlay(tools={"retries": {"max_attempts": 1}})


async def test_a_dead_tool_is_tried_again_by_nobody_beyond_its_budget(ward):  # noqa: F811
    """Eight callers at two workers that try again and again, as fast as they may."""
    workers, made = [ward(), ward()], []
    until = time.monotonic() + 3

    async def insist(worker):
        while time.monotonic() < until:
            try:
                permit = await worker.admit("x", TERMS, lease_s=5, again=True)
            except Refused:
                await asyncio.sleep(0.01)
                continue
            made.append(permit)
            worker.report(permit, CallOutcome.FAILED)

    await asyncio.gather(*(insist(each) for each in workers for _ in range(4)))

    assert KEPT + 2.5 * PER_S <= len(made) <= KEPT + 3.5 * PER_S
