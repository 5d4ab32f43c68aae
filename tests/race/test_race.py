"""Flips of the gate against writers, and against writers without each guard.

One crew of eight processes serves every test whose writers are the code as it is.
"""

from collections.abc import AsyncIterator

import pytest

from models.gate import GateMode
from models.scope import FLEET
from tests.race.arena import Arena, arena
from tests.race.flipper import Flips, race
from tests.race.idle import idle_ms
from tests.race.verdict import HEAD, Verdict, quantile, row
from tests.race.writer import PIPELINE, TENANT, TOOL

LEAK = Flips(200, until_leak=True)


@pytest.fixture(scope="module")
async def crew(opened: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Arena]:
    async with arena(opened, tmp_path_factory.mktemp("race"), "safe") as it:
        yield it


def assert_nothing_leaked(verdict: Verdict) -> None:
    told = f"{HEAD}\n{row(verdict)}"
    # Otherwise nothing was raced: the flips met nobody.
    assert verdict.under_way >= len(verdict.rounds) / 5, told
    assert len(verdict.arrivals) >= len(verdict.rounds), told
    leaks = verdict.intents_after_flip, verdict.intents_after_stop, verdict.sends_after_stop
    assert leaks == (0, 0, 0), told


async def test_no_write_starts_after_stopped_however_eight_writers_race_three_hundred_flips(crew):
    verdict = await race(crew, "safe", Flips(300))

    assert_nothing_leaked(verdict)


@pytest.mark.parametrize(
    ("scope", "mode"),
    [
        (FLEET, GateMode.CLOSED),
        (f"tenant:{TENANT}", GateMode.READ_ONLY),
        (f"pipeline:{PIPELINE}", GateMode.CLOSED),
        (f"tool:{TOOL}", GateMode.READ_ONLY),
    ],
)
async def test_a_gate_of_every_scope_and_in_both_shut_modes_holds_as_the_fleets_does(
    crew, scope, mode
):
    verdict = await race(crew, "safe", Flips(15, scope, mode))

    assert_nothing_leaked(verdict)


async def test_two_operators_who_flip_at_once_are_both_told_the_truth(crew):
    verdict = await race(crew, "two_operators", Flips(15))

    assert_nothing_leaked(verdict)


async def test_a_flip_that_does_not_lock_its_table_lets_intents_through(crew):
    verdict = await race(crew, "no_lock", LEAK)

    assert verdict.intents_after_flip > 0


async def test_the_same_race_finds_what_a_plain_check_before_the_insert_lets_through(
    opened, tmp_path
):
    async with arena(opened, tmp_path, "check_then_insert", writers=4) as it:
        verdict = await race(it, "check_then_insert", LEAK)

    assert verdict.intents_after_flip > 0


async def test_the_same_race_finds_what_repeatable_read_lets_through(opened, tmp_path):
    async with arena(opened, tmp_path, "repeatable_read", writers=4) as it:
        verdict = await race(it, "repeatable_read", LEAK)

    assert verdict.intents_after_flip > 0


async def test_stopped_without_a_wait_would_be_a_lie_and_with_it_is_none(opened, tmp_path):
    async with arena(opened, tmp_path, "no_wait", writers=4) as it:
        at_once = await race(it, "no_wait", LEAK)
        waited = await race(it, "lingering", Flips(20))

    assert at_once.sends_after_stop > 0
    assert_nothing_leaked(waited)


@pytest.mark.long
@pytest.mark.parametrize("variant", ["frozen", "retried"])
async def test_neither_a_frozen_writer_nor_a_write_tried_again_starts_after_stopped(
    opened, tmp_path, variant
):
    async with arena(opened, tmp_path, variant) as it:
        verdict = await race(it, variant, Flips(30))

    assert_nothing_leaked(verdict)


async def test_with_nothing_in_flight_stopped_is_answered_in_a_few_milliseconds(database):
    took = await idle_ms(50)

    assert quantile([stopped for _, stopped in took], 0.5) < 50
