"""The operator of the race: shuts the gate, hears STOPPED, and looks whether that was so."""

import asyncio
import random
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

from models.gate import GateMode, flip
from models.scope import FLEET
from tests.race.arena import Arena
from tests.race.variants import VARIANTS, Variant
from tests.race.verdict import Round, Verdict

_ENOUGH = 8
"""So many writes reach the target in each round before the gate is shut under them."""
_OPEN_AT_MOST_S = 0.25
_JITTER_S = 0.004
"""Each flip meets the writers in another moment of their way."""
_FROZEN_S, _THAWED_S = 3.0, 0.5
_LOOK_S = 0.0005


@dataclass(frozen=True)
class Flips:
    """What is to be flipped, and how often."""

    count: int
    scope: str = FLEET
    mode: GateMode = GateMode.READ_ONLY
    until_leak: bool = False
    """Whether the first leak is enough."""


async def race(
    arena: Arena, name: str, flips: Flips, tell: Callable[[str], None] = lambda _: None
) -> Verdict:
    """Flip under the writers, and judge every round by the ledger and by the target."""
    variant, rounds = VARIANTS[name], list[Round]()
    began, seen = monotonic(), len(arena.arrivals)

    def verdict() -> Verdict:
        return Verdict(name, rounds, arena.arrivals.all()[seen:], monotonic() - began)

    with variant.flipper():
        async with _freezer(arena, variant):
            for number in range(1, flips.count + 1):
                rounds.append(await _round(arena, variant, flips))
                if number % 50 == 0:
                    arena.assert_alive()
                if number % 500 == 0:
                    tell(f"{name}: {number:,} flips in {monotonic() - began:.0f} s")
                if flips.until_leak and verdict().violated:
                    break
    arena.assert_alive()
    await _put(flips, GateMode.OPEN)
    return verdict()


async def _round(arena: Arena, variant: Variant, flips: Flips) -> Round:
    reopened = monotonic()
    await _put(flips, GateMode.OPEN)
    await _some_writes(arena)
    before = await arena.intents()
    asked = monotonic()
    await asyncio.gather(*(_put(flips, flips.mode) for _ in range(variant.operators)))
    flipped = monotonic()
    at_flip = await arena.intents()
    await variant.stopped(flips.scope, flipped)
    stopped = monotonic()
    at_stop = await arena.intents()
    await asyncio.sleep(variant.dwell_s)
    looked = monotonic()
    after = await arena.intents()
    return Round(
        reopened, asked, flipped, stopped, looked,
        under_way=at_flip > before, after_flip=after - at_flip, after_stop=after - at_stop,
    )  # fmt: skip


async def _put(flips: Flips, mode: GateMode) -> None:
    await flip(flips.scope, mode, who="race", reason="a race")


async def _some_writes(arena: Arena) -> None:
    seen, give_up = len(arena.arrivals), monotonic() + _OPEN_AT_MOST_S
    while len(arena.arrivals) < seen + _ENOUGH and monotonic() < give_up:
        await asyncio.sleep(_LOOK_S)
    await asyncio.sleep(random.uniform(0, _JITTER_S))  # noqa: S311  # no secret


@asynccontextmanager
async def _freezer(arena: Arena, variant: Variant) -> AsyncIterator[None]:
    freezing = asyncio.create_task(_freeze(arena.writers)) if variant.freezes else None
    try:
        yield
    finally:
        if freezing is not None:
            freezing.cancel()
            await asyncio.gather(freezing, return_exceptions=True)


async def _freeze(writers: list["subprocess.Popen[bytes]"]) -> None:
    """A process that is stopped may be anywhere: before its intent, its request, its outcome."""
    while True:
        one = random.choice(writers)  # noqa: S311  # no secret
        one.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(_FROZEN_S)
        finally:
            one.send_signal(signal.SIGCONT)
        await asyncio.sleep(random.uniform(0, _THAWED_S))  # noqa: S311  # no secret
