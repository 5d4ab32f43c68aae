"""A branch: calls one after the other, judged as they come, and what they come to together."""

from collections.abc import Iterator
from itertools import chain

from config.policy import LoopDetection
from models.run import StopReason
from worker.outcome import Stop

_PERIODS = (2, 3, 4)
"""Lengths of the circles that are recognised as such; longer ones are repetitions all the same."""
_KEPT = 4096
"""What was called longer ago than this many other calls may be forgotten."""
MANY = "several calls"
_NEVER = (0, 0)


class _Memory:
    """Which calls were seen, and what of each; two generations bound it."""

    __slots__ = ("_old", "_young")

    def __init__(self) -> None:
        self._young: dict[int, tuple[int, int]] = {}
        self._old: dict[int, tuple[int, int]] = {}

    def get(self, key: int) -> tuple[int, int] | None:
        return self._young.get(key) or self._old.get(key)

    def keep(self, key: int, seen: tuple[int, int]) -> None:
        if len(self._young) >= _KEPT:
            self._old, self._young = self._young, {}
        self._young[key] = seen

    def __iter__(self) -> Iterator[int]:
        return chain(self._old, self._young)


class Branch:
    """The calls of one branch, one after the other."""

    __slots__ = (
        "_circles", "_circling", "_epoch", "_failed", "_recent", "_rules", "_stale",
        "all_failed", "answered", "calls", "found", "key", "memory", "parent", "tool", "wrote",
    )  # fmt: skip

    def __init__(self, rules: LoopDetection, parent: "Branch | None") -> None:
        self._rules = rules
        self.parent = parent
        self.memory = _Memory()
        """Of each call: how often it was made, and in which epoch."""
        self._epoch = 0
        self._stale = 0
        self._failed = 0
        self._recent: tuple[int, ...] = ()
        self._circles = [0] * len(_PERIODS)
        self._circling = False
        self.calls = 0
        self.key = 0
        self.tool = ""
        self.found = False
        self.wrote = False
        self.all_failed = True
        self.answered = False

    def knows(self, key: int) -> bool:
        if self.memory.get(key) is not None:
            return True
        return self.parent is not None and self.parent.knows(key)

    def begin_anew(self) -> None:
        self.answered = True
        self._epoch += 1
        self._stale = self._failed = 0
        self._recent = ()
        self._circles = [0] * len(_PERIODS)

    def found_something(self, key: int, *, wrote: bool) -> None:
        """Note a call that brought something new; most do, and nothing is to be judged."""
        if wrote:
            self._epoch += 1
        self.memory.keep(key, (1, self._epoch))
        self._stale = self._failed = 0
        self._recent = (*self._recent[1 - _PERIODS[-1] :], key)
        if self._circling:
            self._circling = False
            self._circles = [0] * len(_PERIODS)

    def saw(self, key: int, tool: str, *, new: bool, wrote: bool, failed: bool) -> None:
        """Note a call and judge.

        Raises:
            Stop: It completes a loop, or is one call too many without progress.
        """
        if self.parent is not None:
            self._tell(key, tool, new=new, wrote=wrote, failed=failed)
        if wrote:
            self._epoch += 1
        times, epoch = self.memory.get(key) or _NEVER
        times = times + 1 if epoch == self._epoch else 1
        self.memory.keep(key, (times, self._epoch))
        self._stale = 0 if new else self._stale + 1
        self._failed = self._failed + 1 if failed else 0
        circle = self._circle(key)
        if times > 1 or circle or self._stale or self._failed:
            self._judge(tool, times, circle)

    def _tell(self, key: int, tool: str, *, new: bool, wrote: bool, failed: bool) -> None:
        """Keep what the branch comes to, for when it joins."""
        self.key = hash((self.key, key)) if self.calls else key
        self.tool = MANY if self.calls else tool
        self.calls += 1
        self.found |= new
        self.wrote |= wrote
        self.all_failed &= failed

    def learn(self, other: "Branch") -> None:
        """Know what a branch has seen."""
        for key in other.memory:
            if not self.knows(key):
                self.memory.keep(key, (0, self._epoch))

    def _circle(self, key: int) -> int:
        """How many calls long the circle is that has come round often enough; 0: none."""
        found, recent, circles = 0, self._recent, self._circles
        self._recent = (*recent[1 - _PERIODS[-1] :], key)
        if key not in recent:
            if self._circling:
                self._circling = False
                self._circles = [0] * len(_PERIODS)
            return 0
        self._circling = True
        for place, period in enumerate(_PERIODS):
            again = period <= len(recent) and recent[-period] == key != recent[-1]
            circles[place] = circles[place] + 1 if again else 0
            if not found and circles[place] >= period * (self._rules.alternating_threshold - 1):
                found = period
        return found

    def _judge(self, tool: str, times: int, circle: int) -> None:
        rules = self._rules
        if times >= rules.repeated_calls_threshold:
            told = f"{times} times the same came of the same call: {tool}"
        elif circle:
            told = f"{rules.alternating_threshold} times the same {circle} calls in turn: {tool}"
        elif self._stale >= rules.no_progress_threshold:
            told = f"{self._stale} calls in a row brought nothing new, the last one {tool}"
            raise Stop(StopReason.NO_PROGRESS, told)
        elif self._failed >= rules.failures_threshold:
            told = f"{self._failed} calls in a row failed, the last one {tool}"
            raise Stop(StopReason.NO_PROGRESS, told)
        else:
            return
        raise Stop(
            StopReason.LOOP_DETECTED,
            f"{told}, and nothing new was written in between; a tool whose answer may well stay"
            " the same says so with poll=True",
        )
