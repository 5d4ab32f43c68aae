"""The tripwire: where too much fails or is spent, the fleet goes into safe mode by itself."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from config.policy_safe_mode import Triggers
from models import notice, pulse
from models.database import hot
from models.gate import GateMode, flip
from models.pulse import Beat
from tests.conftest import RULES, expire_lease, finished, reload, sweep, until
from worker.gatekeeper import Gatekeeper
from worker.journal import Journal
from worker.tripwire import Tripwire

POLICY = """
safe_mode: {triggers: {window_s: 60, failed_share: 0.5, failed_of: 6}}
tools: {circuit_breakers: {enabled: false}}  # or what fails would wait
"""
NO_USD = Decimal(0)
Wire = Callable[..., Tripwire]


@pytest.fixture
def wire(database: str) -> Wire:
    """A worker's tripwire, with what it has noticed of its own runs."""

    def make(beat: Beat = pulse.NOTHING, **triggers) -> Tripwire:
        journal = Journal(patience=timedelta(seconds=2))
        journal.give_back(beat)
        own = Triggers(**{"failed_of": 10} | triggers)
        return Tripwire(uuid4(), own, journal, Gatekeeper(RULES, patience_s=2))

    return make


async def go_round(*wires: Tripwire) -> None:
    for each in wires:
        await each._gatekeeper.look()
    await asyncio.gather(*(each.round() for each in wires))


async def gate() -> tuple[str, str, str, int]:
    return tuple(
        await hot().fetchrow("SELECT mode, who, reason, epoch FROM gate WHERE scope = 'fleet'")
    )


async def notices() -> list[tuple[str, str]]:
    rows = await hot().fetch("SELECT id, told FROM notice WHERE kind = 'tripped' ORDER BY since")
    return [tuple(row) for row in rows]


async def test_two_workers_whose_runs_fail_trip_once_and_only_a_person_opens_again(
    submit, fleet, tmp_path
):
    (tmp_path / "policy.yaml").write_text(POLICY)
    fleet.workers(2, POLICY=str(tmp_path / "policy.yaml"))
    for n in range(5):
        await submit("lied-to", {"n": n})
    await until(lambda: finished(5))
    await until(lambda: felt(5))
    before = await gate()
    await submit("lied-to", {"n": 6})

    await until(lambda: stands("read_only"))
    await asyncio.sleep(2.5)
    latched = await gate()
    await flip("fleet", GateMode.OPEN, who="ada", reason="mended")
    await asyncio.sleep(2.5)
    opened = await gate()
    for n in range(6):
        await submit("lied-to", {"n": 10 + n})

    await until(lambda: stands("read_only"))
    await until(notices_told_twice)
    assert before[0] == "open", "five are fewer than `failed_of`"
    assert latched == ("read_only", "sluice", "6 of 6 runs failed within 60 s", 1)
    assert opened[0] == "open", "what failed before has been judged"
    assert [each for each, _ in await notices()] == ["gate:fleet:1", "gate:fleet:3"]
    assert "sluice safe-mode off --reason" in (await notices())[0][1]
    flips = await hot().fetchval(
        "SELECT count(*) FROM audit WHERE who = 'sluice' AND act = 'gate'"
        " AND at >= (SELECT min(created_at) FROM run)"
    )
    assert flips == 2


async def felt(count: int) -> bool:
    return (await pulse.feel(60)).ended >= count


async def stands(mode: str) -> bool:
    return (await gate())[0] == mode


async def notices_told_twice() -> bool:
    return len(await notices()) == 2


async def test_eight_workers_that_see_it_in_the_same_moment_trip_once(wire):
    wires = [wire(Beat(5, 5, NO_USD)) for _ in range(8)]

    await go_round(*wires)
    await go_round(*wires)

    assert (await gate())[3] == 1
    assert len(await notices()) == 1


@pytest.mark.parametrize(
    ("beat", "trips"),
    [
        (Beat(9, 9, NO_USD), False),  # too few to tell
        (Beat(10, 5, NO_USD), True),
        (Beat(10, 4, NO_USD), False),
        (Beat(1000, 499, NO_USD), False),
        (Beat(0, 0, Decimal(1000)), False),  # no limit was set
    ],
)
async def test_it_trips_when_a_share_of_enough_runs_failed(wire, beat, trips):
    await go_round(wire(beat))

    assert await stands("read_only") == trips


@pytest.mark.parametrize(
    ("usd", "trips"),
    [("1.00", False), ("1.01", True)],
)
async def test_it_trips_when_money_goes_faster_than_it_may(wire, usd, trips):
    await go_round(wire(Beat(0, 0, Decimal(usd)), usd_per_minute="2", window_s=30))

    assert await stands("read_only") == trips
    if trips:
        assert (await gate())[2] == "2.02 USD a minute were spent over 30 s"


async def test_money_is_judged_over_the_whole_window(wire):
    await go_round(wire(Beat(0, 0, Decimal("0.19")), usd_per_minute="2", window_s=5.9))

    assert await stands("open"), "0.19 USD in 5.9 s are 1.93 a minute"


async def test_null_switches_the_count_of_failures_off(wire):
    await go_round(wire(Beat(500, 500, NO_USD), failed_of=None))

    assert await stands("open")


async def test_what_is_older_than_the_window_does_not_count(wire):
    await pulse.tell(uuid4(), Beat(50, 50, NO_USD))
    await hot().execute("UPDATE pulse SET since = now() - interval '61 s'")
    await hot().execute("UPDATE gate SET changed_at = now() - interval '1 h'")

    await go_round(wire(Beat(5, 5, NO_USD)))

    assert await stands("open")


async def test_it_does_not_loosen_a_closed_gate_nor_judge_behind_a_shut_one(wire):
    await flip("fleet", GateMode.CLOSED, who="ada", reason="stop")

    await go_round(wire(Beat(50, 50, NO_USD)))

    assert (await gate())[:2] == ("closed", "ada")
    assert await notices() == []
    assert (await hot().fetchval("SELECT sum(failed) FROM pulse")) == 50, "told all the same"


async def test_runs_whose_workers_died_too_often_count_as_failed(submit, wire):
    for _ in range(10):
        await crashed(await submit("noop", {}))
    assert await sweep() == 10

    await go_round(wire())

    assert (await gate())[:3] == ("read_only", "sluice", "10 of 10 runs failed within 60 s")


async def crashed(run: UUID) -> None:
    await hot().execute(
        "UPDATE run SET status = 'running', worker = gen_random_uuid(), attempt = 3, crashes = 2,"
        " lease_expires_at = now() WHERE id = $1",
        run,
    )
    await expire_lease(run)


@pytest.mark.parametrize(
    ("pipeline", "given", "reason", "beat"),
    [
        ("noop", {}, "success", Beat(1, 0, NO_USD)),
        ("lied-to", {}, "tool_output_invalid", Beat(1, 1, NO_USD)),
        ("pay", {"n": 9}, "cost_budget", Beat(1, 0, Decimal("0.30"))),
    ],
)
async def test_a_broken_ceiling_says_nothing_of_the_machine_but_what_was_spent_counts(
    submit, attempt, monkeypatch, pipeline, given, reason, beat
):
    journals: list[Journal] = []
    monkeypatch.setattr(
        "tests.conftest.Journal", lambda **more: journals.append(Journal(**more)) or journals[0]
    )
    run = await submit(pipeline, given)

    await attempt(run)

    assert (await reload(run))["stop_reason"] == reason
    assert journals[0].take_beat() == beat
    assert journals[0].take_beat() == pulse.NOTHING


async def test_what_could_not_be_told_is_told_the_next_time(wire, monkeypatch):
    own, tell = wire(Beat(20, 20, NO_USD)), pulse.tell
    monkeypatch.setattr(pulse, "tell", away)

    with pytest.raises(ConnectionError):
        await go_round(own)
    monkeypatch.setattr(pulse, "tell", tell)
    await go_round(own)

    assert (await gate())[2] == "20 of 20 runs failed within 60 s"


async def test_a_trip_is_noticed_even_when_the_database_goes_away_in_between(wire, monkeypatch):
    own, tell = wire(Beat(20, 20, NO_USD)), notice.tell
    monkeypatch.setattr(notice, "tell", away)

    with pytest.raises(ConnectionError):
        await go_round(own)
    monkeypatch.setattr(notice, "tell", tell)
    await go_round(own, wire())

    assert await stands("read_only")
    assert len(await notices()) == 1


async def away(*_: Any, **__: Any) -> None:
    """As PostgreSQL does that goes away in this very moment."""
    raise ConnectionError("away")
