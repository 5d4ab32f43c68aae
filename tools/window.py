"""A window: what calls of one tool came to lately, as this process saw it."""

from typing import NamedTuple

from config.policy import CircuitBreakers

SLICES = 20
_RECENT = SLICES // 10


class Counts(NamedTuple):
    """Calls that went well and that failed: in the whole window, and in its last tenth."""

    ok: int
    failed: int
    recent_ok: int
    recent_failed: int

    def sick(self, rules: CircuitBreakers) -> bool:
        """Whether so many failed that the tool should be left alone.

        The last tenth by itself is enough: a tool that dies after a good minute need not fail for
        half a minute more.
        """
        return any(
            failed >= rules.failure_threshold and failed >= rules.failure_share * (ok + failed)
            for ok, failed in (self[:2], self[2:])
        )


class Window:
    """Counts in slices of time; adding one costs a few hundred nanoseconds."""

    __slots__ = ("_failed", "_ok", "_per_s", "_tick", "span_s")

    def __init__(self, span_s: float) -> None:
        self.span_s = span_s
        self._per_s = SLICES / span_s
        self._tick = 0
        self._ok = [0] * SLICES
        self._failed = [0] * SLICES

    def add(self, now: float, *, failed: bool) -> None:
        if (tick := int(now * self._per_s)) != self._tick:
            self._turn(tick)
        (self._failed if failed else self._ok)[tick % SLICES] += 1

    def counts(self, now: float) -> Counts:
        tick = int(now * self._per_s)
        self._turn(tick)
        recent = [(tick - back) % SLICES for back in range(_RECENT)]
        return Counts(
            sum(self._ok),
            sum(self._failed),
            sum(self._ok[each] for each in recent),
            sum(self._failed[each] for each in recent),
        )

    def clear(self) -> None:
        self._ok = [0] * SLICES
        self._failed = [0] * SLICES

    def _turn(self, tick: int) -> None:
        for old in range(max(self._tick, tick - SLICES) + 1, tick + 1):
            self._ok[old % SLICES] = self._failed[old % SLICES] = 0
        self._tick = tick
