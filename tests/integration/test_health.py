"""The health of tools: breakers, limits, and what is left of them without Redis."""

import asyncio
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from config.policy import CircuitBreakers, Limits
from models import breaker as records
from models.audit import latest
from models.breaker import BreakerState, force
from models.database import hot
from models.run import WaitingFor
from tests.conftest import until
from tests.proxy import SocketProxy
from tools.board import _plain_url
from tools.health import Health
from tools.permit import CallOutcome, Refused, Terms

OPEN_S = 0.6
RULES = CircuitBreakers(open_seconds=OPEN_S)
TERMS = Terms(RULES)


@pytest.fixture
async def redis(redis_url):
    client = Redis.from_url(_plain_url(redis_url))
    yield client
    await client.aclose()


@pytest.fixture
async def ward(database, redis_url, redis):
    """Makes workers that share this Redis; nothing is left of the test before."""
    for key in await redis.keys("sluice.health:*"):
        await redis.delete(key)
    made = []

    def worker(*, alone=False):
        health = Health(uuid4())
        if not alone:
            health.connect(redis_url)
        made.append(health)
        return health

    yield worker
    for each in made:
        await each.close()


async def settled(*workers):
    """Everything that was reported has arrived."""
    for each in workers:
        while each._ward.tasks:
            await asyncio.gather(*each._ward.tasks)


async def call(health, outcome=CallOutcome.OK, *, times=1, terms=TERMS, tool="x", **more):
    """Calls, one after the other; refusals count as nothing. Returns how many were let in."""
    let_in = 0
    for _ in range(times):
        try:
            permit = await health.admit(tool, terms, lease_s=5)
        except Refused:
            continue
        let_in += 1
        permit.begin()
        health.report(permit, outcome, **more)
        await settled(health)
    return let_in


async def refused(health, *, terms=TERMS, **more):
    with pytest.raises(Refused) as caught:
        await health.admit("x", terms, lease_s=5, **more)
    return caught.value


async def until_half_open(health):
    """Until its time is up, as this worker sees it."""
    patient = health._patients["x"]
    until = max(patient.until, patient.own.until)
    await asyncio.sleep(max(0, until - time.monotonic()) + 0.15)


async def opened(*workers):
    for each in workers:
        await call(each, CallOutcome.FAILED, times=3)
    for each in workers:
        await each.look()
    assert {each._patients["x"].state for each in workers} == {BreakerState.OPEN}


async def script_calls(redis):
    stats = await redis.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))


async def test_calls_of_a_tool_that_is_well_ask_nobody(ward, redis):
    one = ward()
    await call(one)
    before = await script_calls(redis)

    assert await call(one, times=500) == 500

    assert await script_calls(redis) == before


async def test_failures_at_two_workers_open_it_for_everybody(ward):
    one, two, other = ward(), ward(), ward()
    await call(other)

    assert await call(one, CallOutcome.FAILED, times=4) == 4
    assert await call(two, CallOutcome.FAILED, times=9) == 1
    await other.look()

    assert (await refused(other)).waiting is WaitingFor.BREAKER
    assert await call(one) == 0


async def test_one_sick_worker_shuts_its_own_breaker_and_nobody_elses(ward):
    sick, well = ward(), ward()
    await call(well, times=5)

    assert await call(sick, CallOutcome.FAILED, times=50) == 5
    assert (await refused(sick)).waiting is WaitingFor.BREAKER

    assert await call(well, times=50) == 50
    await call(well, CallOutcome.FAILED)
    assert await call(well, times=10) == 10, "one failure of its own proves nothing"
    await until_half_open(sick)
    assert await call(sick, times=20) == 20, "it is well again"


async def test_a_worker_that_lives_alone_opens_it_by_itself(ward):
    only = ward()

    assert await call(only, CallOutcome.FAILED, times=50) == 5

    assert only._patients["x"].state is BreakerState.OPEN


async def test_failures_among_many_good_calls_open_nothing(ward):
    one, two = ward(), ward()

    for _ in range(20):
        for each in (one, two):
            await call(each, CallOutcome.FAILED)
            await call(each, times=2)

    assert await call(one) == await call(two) == 1


async def test_a_tool_that_dies_after_a_good_minute_is_left_alone_within_a_tenth_of_it(ward):
    rules = Terms(CircuitBreakers(window_seconds=10))
    one, two = ward(), ward()
    for each in (one, two):
        await call(each, times=500, terms=rules)
    await asyncio.sleep(1.1)

    tried = 0
    for each in (one, two):
        tried += await call(each, CallOutcome.FAILED, times=10, terms=rules)

    assert 5 <= tried <= 8


async def test_a_slow_answer_counts_as_a_failure(ward):
    slow = Terms(CircuitBreakers(slow_seconds=0.001))
    only = ward()

    for _ in range(5):
        permit = await only.admit("x", slow, lease_s=5)
        permit.begin()
        await asyncio.sleep(0.002)
        only.report(permit, CallOutcome.OK)
        await settled(only)

    assert (await refused(only, terms=slow)).waiting is WaitingFor.BREAKER


async def test_half_open_lets_three_probes_through_and_closes_when_they_go_well(ward):
    one, two = ward(), ward()
    await opened(one, two)
    await until_half_open(one)

    probes = [await one.admit("x", TERMS, lease_s=5) for _ in range(2)]
    probes.append(await two.admit("x", TERMS, lease_s=5))
    await refused(one)
    await refused(two)
    for each in probes:
        one.report(each, CallOutcome.OK)
        await settled(one)

    assert await call(one, times=20) == await call(two, times=20) == 20


async def test_a_failed_probe_opens_it_for_twice_as_long(ward):
    one, two = ward(), ward()
    await opened(one, two)
    await until_half_open(one)

    await call(one, CallOutcome.FAILED)

    left_s = one._patients["x"].until - time.monotonic()
    assert 1.5 * OPEN_S < left_s <= 2.2 * OPEN_S
    assert await call(two) == await call(one) == 0


async def test_a_prober_that_died_makes_room_when_its_lease_ends(ward):
    one, two = ward(), ward()
    await opened(one, two)
    await until_half_open(one)
    for _ in range(3):
        await one.admit("x", TERMS, lease_s=0.6)  # and never reports
    await refused(two)

    await asyncio.sleep(0.65)

    assert await call(two, times=10) == 10


async def test_what_a_call_of_before_came_to_says_nothing_of_the_probes(ward):
    one, two = ward(), ward()
    await call(one)
    late = [await one.admit("x", TERMS, lease_s=5) for _ in range(9)]
    await opened(one, two)
    await until_half_open(one)
    probe = await one.admit("x", TERMS, lease_s=5)

    for each in late:
        one.report(each, CallOutcome.FAILED)
    await settled(one)

    assert one._patients["x"].state is BreakerState.HALF_OPEN
    one.report(probe, CallOutcome.OK)
    assert await call(two, times=2) == 2
    assert one._patients["x"].window.counts(time.monotonic()).failed == 0


async def test_a_429_paces_the_fleet_for_as_long_as_it_says_and_opens_nothing(ward):
    one, two = ward(), ward()
    await call(two)

    await call(one, CallOutcome.PACED, retry_after_s=1)
    asked = await refused(one)
    await two.look()

    assert asked.waiting is WaitingFor.RATE
    assert 0.5 < asked.wait_s < 1.5
    assert (await refused(two)).wait_s > 0.4, "no sooner than it said, wherever"
    await asyncio.sleep(1.05)
    assert await call(one, CallOutcome.PACED, times=9, retry_after_s=0) == 9


async def test_refused_calls_are_told_to_come_in_cohorts(ward):
    one = ward()
    await call(one, CallOutcome.FAILED, times=5)

    waits = sorted([(await refused(one)).wait_s for _ in range(90)])

    assert sum(wait < 1.5 for wait in waits) < 20
    assert waits[-1] < 7


async def test_a_rate_is_the_whole_fleets_and_whoever_is_too_early_gets_a_turn(ward):
    terms = Terms(RULES, Limits(per_second=20, burst=5))
    one, two = ward(), ward()

    async def ask(health):
        try:
            return await health.admit("x", terms, lease_s=5)
        except Refused as error:
            return error

    asked = await asyncio.gather(*(ask(each) for _ in range(50) for each in (one, two)))
    let_in = sorted(each.waits_s for each in asked if not isinstance(each, Refused))
    others = sorted(each.wait_s for each in asked if isinstance(each, Refused))

    assert sum(wait < 0.05 for wait in let_in) in {5, 6}
    assert 44 <= len(let_in) <= 55, "five at once, and twenty for each of two seconds"
    assert let_in[-1] <= 2
    assert 2 < others[0] < 3.5
    assert others[-1] > 4, "the last of them has a later turn"


async def test_in_safe_mode_the_rate_is_halved(ward):
    terms = Terms(RULES, Limits(per_second=1))
    one = ward()

    first = await one.admit("x", terms, lease_s=5, halved=True)
    second = await one.admit("x", terms, lease_s=5, halved=True)

    assert first.waits_s == 0
    assert 1.2 < second.waits_s <= 2


async def test_so_many_at_once_and_a_place_that_is_given_back_is_free(ward):
    terms = Terms(RULES, Limits(at_once=2))
    one, two = ward(), ward()
    first = await one.admit("x", terms, lease_s=5)
    await two.admit("x", terms, lease_s=0.6)

    assert (await refused(one, terms=terms)).waiting is WaitingFor.RATE
    one.report(first, CallOutcome.UNUSED)
    await settled(one)
    await two.admit("x", terms, lease_s=5)
    await refused(one, terms=terms)

    await asyncio.sleep(0.65)
    assert await call(one, terms=terms) == 1, "and so is one whose holder died"


async def test_an_unused_turn_is_given_back(ward):
    terms = Terms(RULES, Limits(per_second=1))
    one = ward()
    permit = await one.admit("x", terms, lease_s=5)

    one.report(permit, CallOutcome.UNUSED)
    await settled(one)

    assert (await one.admit("x", terms, lease_s=5)).waits_s == 0


async def test_what_was_open_stays_open_when_redis_forgets_it(ward, redis):
    one, two = ward(), ward()
    await opened(one, two)

    await redis.flushdb()
    await redis.script_flush()
    newcomer = ward()
    await one.look()

    await refused(two)
    assert await call(newcomer) == 0
    await until_half_open(two)
    assert await call(newcomer, times=3) == 3
    assert await call(one, times=10) == 10


async def test_what_was_open_is_open_for_a_worker_that_starts_without_redis(ward):
    one, two = ward(), ward()
    await opened(one, two)
    newcomer = ward(alone=True)

    await newcomer.look()

    assert await call(newcomer) == 0
    await until_half_open(newcomer)
    assert await call(newcomer, CallOutcome.FAILED, times=9) == 1


async def test_without_redis_a_worker_has_a_breaker_and_its_share_of_the_limits(ward):
    terms = Terms(RULES, Limits(per_second=2, at_once=4))
    alone = ward(alone=True)
    for _ in range(2):
        await hot().execute(
            "INSERT INTO worker (id, host, pid, runs) VALUES ($1, 'here', 1, '[]')", uuid4()
        )
    await alone.look()

    first = await alone.admit("x", terms, lease_s=5)
    second = await alone.admit("x", terms, lease_s=5)
    await refused(alone, terms=terms)
    assert first.waits_s == 0
    assert 0.6 < second.waits_s <= 1, "half of the rate, and half of the places"

    assert await call(alone, CallOutcome.FAILED, times=20, terms=Terms(RULES), tool="y") == 5
    await asyncio.sleep(1.2 * OPEN_S)
    assert await call(alone, times=20, terms=Terms(RULES), tool="y") == 20


async def test_a_redis_that_hangs_is_waited_for_once_and_asked_again_when_it_is_back(
    ward, redis_url
):
    server = Path(urlsplit(redis_url).path)
    terms = Terms(RULES, Limits(per_second=10_000, burst=10_000))
    health = ward(alone=True)
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
        proxy = SocketProxy(server=server, folder=Path(folder))
        await proxy.open()
        health.connect(redis_url.replace(str(server.parent), folder))
        assert await call(health, terms=terms) == 1

        proxy.freeze()
        started = time.monotonic()
        assert await call(health, terms=terms) == 1
        hung_s = time.monotonic() - started
        assert await call(health, times=20, terms=terms) == 20
        rest_s = time.monotonic() - started - hung_s

        proxy.thaw()
        await until(lambda: back(health))
        await health.close()
        await proxy.shut()
    assert 0.9 < hung_s < 3
    assert rest_s < 1, "nobody else waits"


async def back(health):
    await health.look()
    return health._board.there


async def test_an_operator_holds_it_open_or_closed_whatever_is_seen(ward):
    one = ward()
    await call(one, tool="probe.read")
    await force("probe.read", BreakerState.OPEN, who="ada", reason="they asked us to")
    await one.look()
    newcomer = ward(alone=True)
    await newcomer.look()

    assert await call(one, tool="probe.read") == await call(newcomer, tool="probe.read") == 0

    await force("probe.read", BreakerState.CLOSED, who="ada", reason="let it burn")
    await one.look()
    assert await call(one, CallOutcome.FAILED, times=20, tool="probe.read") == 20

    await force("probe.read", None, who="ada", reason="as it likes")
    await one.look()
    assert await call(one, tool="probe.read") == 0
    told = [line.about for line in await latest(9) if line.act == "breaker" and line.who == "ada"]
    assert len(told) >= 3


async def test_a_breaker_of_no_tool_or_without_a_reason_is_refused(database):
    with pytest.raises(ValueError, match=r"probe\.read"):
        await force("probe.raed", BreakerState.OPEN, who="ada", reason="a slip")
    with pytest.raises(ValueError, match="reason"):
        await force("probe.read", BreakerState.OPEN, who="ada", reason=" ")


async def test_each_change_is_on_record_and_the_later_story_wins(ward):
    one, two = ward(), ward()
    await opened(one, two)
    row = (await records.see())[0][0]
    assert (row.state, row.openings) == ("open", 1)
    assert "calls failed" in row.told

    await records.note(row._replace(state=BreakerState.CLOSED, epoch=row.epoch - 1))
    assert (await records.see())[0][0].state == "open"
    await until_half_open(one)
    await call(one, times=3)
    await one.look()

    assert (await records.see())[0][0].state == "closed"
    assert {line.who for line in await latest(2) if line.act == "breaker"} == {"sluice"}


async def test_what_an_operator_holds_open_is_known_before_the_first_call(ward):
    await force("probe.read", BreakerState.OPEN, who="ada", reason="they asked us to")
    newcomer = ward()

    assert await call(newcomer, tool="probe.read") == 0, "though it has not looked around yet"


async def test_what_an_operator_holds_open_is_not_forgotten_while_it_looks_around(
    ward, monkeypatch
):
    """Nobody has called it for long, and then somebody does, in the middle of a look."""
    one = ward()
    await force("probe.read", BreakerState.OPEN, who="ada", reason="they asked us to")
    await one.look()
    let_in, ask_board = [], one._board._ask

    async def call_meanwhile(op):
        if op["do_"] == "look":
            let_in.append(await call(one, tool="probe.read"))
        return await ask_board(op)

    monkeypatch.setattr(one._board, "_ask", call_meanwhile)
    await call(one)
    await one.look()

    assert let_in
    assert not any(let_in)
