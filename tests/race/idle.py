"""An idle fleet: how long a flip takes, and STOPPED after it, when nothing is in flight."""

from time import monotonic

from models.gate import GateMode, flip
from models.scope import FLEET
from models.standstill import stopped
from tests.race.verdict import quantile


async def idle_ms(flips: int) -> list[tuple[float, float]]:
    """From the call on: the flip has come back; STOPPED is answered."""
    took = []
    for _ in range(flips):
        await flip(FLEET, GateMode.OPEN, who="race", reason="a race")
        asked = monotonic()
        await flip(FLEET, GateMode.READ_ONLY, who="race", reason="a race")
        flipped = monotonic()
        await stopped(FLEET, flipped)
        took.append(((flipped - asked) * 1000, (monotonic() - asked) * 1000))
    await flip(FLEET, GateMode.OPEN, who="race", reason="a race")
    return took


async def idle(flips: int) -> str:
    """A sentence with what was measured."""
    took = await idle_ms(flips)
    told = [
        " / ".join(f"{quantile([each[which] for each in took], q):.1f}" for q in (0.5, 0.99, 1))
        for which in (0, 1)
    ]
    return (
        f"{flips:,} flips, nothing in flight, ms p50 / p99 / max: flip {told[0]};"
        f" with STOPPED {told[1]}"
    )
