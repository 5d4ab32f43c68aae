"""A breaker of one process: for when it alone is sick, and for all while Redis is away."""

import random

from config.policy import CircuitBreakers
from models.breaker import BreakerState

LONGEST_OPEN_S = 600.0
HALF_OPEN_S = 1.0
"""How soon to ask again when all probes are under way."""


class OwnBreaker:
    """Closed, open for a while, half open for a few probes, and round again.

    A probe is a lease: one whose caller has died is given to the next after its time.
    """

    __slots__ = ("_good", "_probes", "openings", "state", "until")

    def __init__(self) -> None:
        self.state = BreakerState.CLOSED
        self.until = 0.0
        self.openings = 0
        self._probes: dict[str, float] = {}
        self._good = 0

    def wait_s(self, now: float, probes: int) -> float:
        """0 when a call may start, else how long to stay away. One that may is not counted yet."""
        if self.state is BreakerState.OPEN and now >= self.until:
            self.state, self._good, self._probes = BreakerState.HALF_OPEN, 0, {}
        if self.state is BreakerState.CLOSED:
            return 0.0
        if self.state is BreakerState.OPEN:
            return self.until - now
        self._probes = {probe: ends for probe, ends in self._probes.items() if ends > now}
        return HALF_OPEN_S if len(self._probes) >= probes else 0.0

    def lend(self, probe: str, ends: float) -> None:
        if self.state is BreakerState.HALF_OPEN:
            self._probes[probe] = ends

    def give_back(self, probe: str) -> bool:
        """Whether it was a probe of ours."""
        return self._probes.pop(probe, None) is not None

    def heard(self, now: float, rules: CircuitBreakers, *, failed: bool) -> None:
        """What a probe came to."""
        if failed:
            self.open(now, rules)
            return
        self._good += 1
        if self._good >= rules.probes:
            self.close()

    def open(self, now: float, rules: CircuitBreakers) -> None:
        self.openings += 1
        open_s = min(LONGEST_OPEN_S, rules.open_seconds * 2.0 ** min(self.openings - 1, 12))
        open_s *= random.uniform(1, 1.1)  # noqa: S311  # jitter
        self.state, self.until, self._probes = BreakerState.OPEN, now + open_s, {}

    def take_over(self, state: BreakerState, until: float, openings: int) -> None:
        """Go on from what the fleet has last agreed on; a half-open one asks its own probes."""
        self.state = state if state is BreakerState.CLOSED else BreakerState.OPEN
        self.until, self.openings, self._probes = until, openings, {}

    def close(self) -> None:
        self.state, self.openings, self._probes = BreakerState.CLOSED, 0, {}
