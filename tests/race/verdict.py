"""What a race came to: what leaked, and how long the flips took."""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import NamedTuple


class Round(NamedTuple):
    """One flip to shut, on the monotonic clock, and the intents that came where none may."""

    reopened: float
    """The gate was about to be opened for this round."""
    asked: float
    flipped: float
    """The flip came back."""
    stopped: float
    """STOPPED was answered."""
    looked: float
    """Until then nothing may have happened."""
    under_way: bool
    """Intents were being committed while the gate was flipped."""
    after_flip: int
    after_stop: int


@dataclass(frozen=True)
class Verdict:
    """One race. Its three first numbers must be nought."""

    name: str
    rounds: Sequence[Round]
    arrivals: "array[float]"
    """When each request reached the target."""
    took_s: float

    @property
    def intents_after_flip(self) -> int:
        return sum(each.after_flip for each in self.rounds)

    @property
    def intents_after_stop(self) -> int:
        return sum(each.after_stop for each in self.rounds)

    @cached_property
    def sends_after_stop(self) -> int:
        return sum(map(self._sends, self.rounds))

    @property
    def violated(self) -> int:
        """In how many rounds anything leaked."""
        return sum(bool(each.after_flip or each.after_stop or self._sends(each))
                   for each in self.rounds)  # fmt: skip

    @property
    def under_way(self) -> int:
        """In how many rounds the flip overtook intents: without any, nothing was shown."""
        return sum(each.under_way for each in self.rounds)

    def flip_ms(self, share: float) -> float:
        return quantile([each.flipped - each.asked for each in self.rounds], share) * 1000

    def stop_ms(self, share: float) -> float:
        return quantile([each.stopped - each.asked for each in self.rounds], share) * 1000

    def _sends(self, each: Round) -> int:
        first = bisect_left(self.arrivals, each.stopped)
        return bisect_left(self.arrivals, each.looked) - first


HEAD = (
    f"{'variant':18} {'flips':>6} {'under way':>9} {'violated':>8} {'intents':>8} {'intents':>8}"
    f" {'sends':>7} {'flip ms':>24} {'STOPPED ms':>26}\n"
    f"{'':18} {'':6} {'':9} {'':8} {'> flip':>8} {'> STOP':>8} {'> STOP':>7}"
    f" {'p50     p99     max':>24} {'p50     p99     max':>26} {'writes':>9} {'took s':>7}"
)


def row(verdict: Verdict) -> str:
    """A line of the table."""
    flips = " ".join(f"{verdict.flip_ms(q):7.1f}" for q in (0.5, 0.99, 1))
    stops = " ".join(f"{verdict.stop_ms(q):8.1f}" for q in (0.5, 0.99, 1))
    return (
        f"{verdict.name:18} {len(verdict.rounds):6,} {verdict.under_way:9,} {verdict.violated:8,}"
        f" {verdict.intents_after_flip:8,} {verdict.intents_after_stop:8,}"
        f" {verdict.sends_after_stop:7,} {flips:>24} {stops:>26} {len(verdict.arrivals):9,}"
        f" {verdict.took_s:7.1f}"
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The value that so large a share of them does not exceed."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]
