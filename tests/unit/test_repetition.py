"""Repetition: at which call a run goes round in circles, and at which it does not yet."""

import asyncio
import sys

import pytest

from config.policy import LoopDetection
from models.run import StopReason
from worker.outcome import Stop
from worker.repetition import Repetition

FAR = 1000
LOOP, STUCK = StopReason.LOOP_DETECTED, StopReason.NO_PROGRESS
REPEATED = LoopDetection(
    alternating_threshold=FAR, no_progress_threshold=FAR, failures_threshold=FAR
)
IN_TURN = LoopDetection(
    repeated_calls_threshold=FAR, no_progress_threshold=FAR, failures_threshold=FAR
)
NOTHING_NEW = LoopDetection(
    repeated_calls_threshold=FAR, alternating_threshold=FAR, failures_threshold=FAR
)


def see(it: Repetition, call: str) -> None:
    """One call: `a` or `a=1` asks a and gets 1; upper case writes, `!` fails, `?` is answered."""
    if call == "?":
        it.answered()
        return
    asked, _, got = call.rstrip("!").partition("=")
    failed, writes = call.endswith("!"), call[0].isupper()
    it.saw("tool", asked.encode(), got.encode(), writes=writes, failed=failed)


def verdict(calls: str, rules: LoopDetection | None = None) -> tuple[int, StopReason] | None:
    """At which call of a row it stops, and why; `[a b]` are two calls side by side."""
    return asyncio.run(_verdict(calls, Repetition(rules or LoopDetection())))


async def _verdict(calls: str, it: Repetition) -> tuple[int, StopReason] | None:
    async def one(call: str) -> None:
        for each in call.split("-"):
            see(it, each)
            await asyncio.sleep(0)

    begun: list[str] | None = None
    for place, each in enumerate(calls.split(), start=1):
        try:
            if each.startswith("["):
                begun = []
            if begun is None:
                see(it, each)
                continue
            begun.append(each.strip("[]"))
            if each.endswith("]"):
                fork, begun = it.fork([one(call) for call in begun]), None
                await asyncio.gather(*fork.tasks)
                fork.join()
        except Stop as stop:
            return place, stop.reason
    return None


@pytest.mark.parametrize(
    ("calls", "stops"),
    [
        ("a a a", (3, LOOP)),
        ("a a", None),
        ("a=1 a=2 a=3 a=4", None),  # the answer changes
        ("a b c a b d a", (7, LOOP)),  # whatever else was asked meanwhile
        ("a B a C a D a E a", None),  # something new was written each time
        ("a B a B a B", (6, LOOP)),  # the same write again is nothing new
        ("a B! a B=1! a", (5, LOOP)),  # nor is one that failed
        ("A A A", (3, LOOP)),
        ("a a ? a a ? a a", None),  # a person was asked each time
        ("a! a! a!", (3, LOOP)),
    ],
)
def test_the_third_time_that_the_same_came_of_the_same_call_is_a_loop(calls, stops):
    assert verdict(calls, REPEATED) == stops


@pytest.mark.parametrize(
    ("calls", "times", "stops"),
    [
        ("a b a b", 2, (4, LOOP)),
        ("a b a c", 2, None),
        ("a b a b a b", 3, (6, LOOP)),
        ("a b a b a c", 3, None),
        ("a b c a b c", 2, (6, LOOP)),
        ("a b c a b d", 2, None),
        ("a b c d a b c d", 2, (8, LOOP)),
        ("a b c d a b c e", 2, None),
        ("a b c d e a b c d e", 2, None),  # so long a circle is left to the other rules
        ("a a a a a a a a", 2, None),  # no circle: the same call
        ("a=1 b a=2 b a=3 b", 2, None),
        ("a b ? a b ? a b", 2, None),
    ],
)
def test_two_three_or_four_calls_in_turn_are_a_loop(calls, times, stops):
    rules = IN_TURN.model_copy(update={"alternating_threshold": times})

    assert verdict(calls, rules) == stops


@pytest.mark.parametrize(
    ("calls", "stops"),
    [
        ("a b c d e f a b c d e f", (12, STUCK)),
        ("a b c d e f a b c d e g", None),
        ("a b a! b c! a d! b", (8, STUCK)),  # a failure is nothing new either
        ("a! b! c! d! e! f!", (6, STUCK)),
        ("a b c d e f a b c d e ? f a b c d", None),
    ],
)
def test_six_calls_in_a_row_that_bring_nothing_new_are_no_progress(calls, stops):
    assert verdict(calls, NOTHING_NEW) == stops


def test_four_failures_in_a_row_are_no_progress():
    assert verdict("a! b! c! d!") == (4, STUCK)
    assert verdict("a! b! c! d e! f! g!") is None


@pytest.mark.parametrize(
    ("calls", "stops"),
    [
        ("[a a a a a a a]", None),  # the author's own plan
        ("[a b c d e f g h]", None),
        ("[a a] [a a]", None),
        ("[a a] [a a] [a a]", (6, LOOP)),  # but not again and again
        ("[a b] [a c] [a d] [a e]", None),
        ("[a] [a] [a]", (3, LOOP)),
        ("a [a] a", (3, LOOP)),
        ("[a! b! c! d! e!]", None),
        ("a [a-b a-c a-d a-e]", None),  # in each branch the same once more
        ("[a-a-a b]", (2, LOOP)),  # in a branch as anywhere
        ("[a b c d e f] a b c d e f", (12, STUCK)),  # what a branch saw the run has seen
        ("[a-? b-?] [a-? b-?] [a-? b-?]", None),
    ],
)
def test_what_begins_side_by_side_counts_branch_by_branch_and_then_as_one_call(calls, stops):
    assert verdict(calls) == stops


def test_the_verdict_does_not_hang_on_which_branch_is_faster():
    """On replay nothing waits, so branches end one after the other."""

    async def round_of(it: Repetition, pauses: list[int]) -> None:
        async def branch(name: str, pause: int) -> None:
            for n in range(3):
                await asyncio.sleep(pause / 1000)
                see(it, f"{name}{n}")

        fork = it.fork([branch(name, pause) for name, pause in zip("abc", pauses, strict=True)])
        await asyncio.gather(*fork.tasks)
        fork.join()

    async def rounds(pauses: list[list[int]]) -> int:
        it = Repetition(LoopDetection())
        for done, each in enumerate(pauses):
            try:
                await round_of(it, each)
            except Stop:
                return done
        return len(pauses)

    assert asyncio.run(rounds([[1, 5, 9], [9, 5, 1], [5, 1, 9], [0, 0, 0]])) == 2
    assert asyncio.run(rounds([[0, 0, 0]] * 4)) == 2


def test_a_hundred_thousand_calls_are_remembered_in_bounded_room():
    it = Repetition(LoopDetection())
    for n in range(100_000):
        see(it, f"a{n}")

    memory = it._trunk().memory
    kept = len(memory._young) + len(memory._old)
    assert 4096 <= kept <= 2 * 4096
    assert sys.getsizeof(memory._young) < 1_000_000
    see(it, "a99999")
    with pytest.raises(Stop):
        see(it, "a99999")
