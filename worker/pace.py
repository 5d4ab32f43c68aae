"""Pace: how often one run calls one tool, so that an agent in a loop is slowed first."""

import time
from collections import deque
from collections.abc import Iterable
from datetime import timedelta

from models.guard import Guard
from models.run import WaitingFor
from worker.outcome import Snooze
from worker.record import Record

_WINDOW_S = 60.0


class Pace:
    """When a run called each tool within the last minute; across attempts, by its record."""

    __slots__ = ("_calls", "_records")

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._records = tuple(records)
        self._calls: dict[str, deque[float]] = {}

    def step(self, tool: str, most: int) -> None:
        """Count a call that is about to be made.

        Raises:
            Snooze: There were so many within the last minute.
        """
        now = time.monotonic()
        calls = self._calls.get(tool)
        if calls is None:
            ages = sorted((r.age_s for r in self._records if r.tool == tool), reverse=True)
            calls = self._calls[tool] = deque(now - age for age in ages)
        while calls and calls[0] <= now - _WINDOW_S:
            calls.popleft()
        if len(calls) >= most:
            wait_s = calls[0] + _WINDOW_S - now
            told = f"its run has called {tool} {most} times within a minute"
            raise Snooze(timedelta(seconds=wait_s), WaitingFor.RATE, told, Guard.RATE)
        calls.append(now)
