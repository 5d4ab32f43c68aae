"""A limiter of one process: its share of a tool's limits, for while Redis is away."""

from tools.permit import BUDGET_KEPT_S, Terms

BOOKED_S = 2.0
"""A turn that comes within this is waited for in place."""
LONGEST_TURN_S = 30.0
"""Nobody is told to come back later: a tool that is well again soon earns more than it did."""
_EXACT = 1e-6


class Limiter:
    """Rate as in health.lua (GCRA: each call has its time, and a burst may come early)."""

    __slots__ = ("_again_line", "_busy", "_debt", "_debt_at", "_free_at", "_line")

    def __init__(self) -> None:
        self._free_at = 0.0
        self._line = 0.0
        self._busy: dict[str, float] = {}
        self._debt = self._debt_at = self._again_line = 0.0

    def enter(
        self, permit_id: str, terms: Terms, now: float, *, ends: float, share: float
    ) -> tuple[bool, float]:
        """Whether a call may start, and after how long; or when to come back.

        `share`: by how many the limits are divided.
        """
        limits, every_s = terms.limits, terms.every_s()
        self._busy = {known: until for known, until in self._busy.items() if until > now}
        if limits and limits.at_once and len(self._busy) >= max(1, limits.at_once // share):
            return False, 0.0
        waits_s = 0.0
        if limits and every_s is not None:
            every_s *= share
            self._free_at = max(self._free_at, now)
            waits_s = max(0.0, self._free_at - (limits.burst - 1) * every_s - now)
            if waits_s > BOOKED_S:
                self._line = max(self._line, now + waits_s)
                comes_s = self._line - now
                self._line += every_s
                return False, comes_s
            self._free_at += every_s
        if limits and limits.at_once:
            self._busy[permit_id] = ends + waits_s
        return True, waits_s

    def again_s(self, terms: Terms, now: float, *, good_per_s: float, share: float) -> float:
        """0 when the budget has room for a further try, else when to come back."""
        retries = terms.retries
        per_s = retries.budget_per_second / share + retries.budget_share * good_per_s
        room = max(1.0, per_s * BUDGET_KEPT_S)
        self._debt = max(0.0, self._debt - (now - self._debt_at) * per_s)
        self._debt_at = now
        if self._debt + 1 <= room + _EXACT:
            return 0.0
        comes_s = max(self._again_line - now, (self._debt + 1 - room) / per_s)
        comes_s = min(comes_s, LONGEST_TURN_S)
        self._again_line = now + comes_s + 1 / per_s
        return comes_s

    def pay(self) -> None:
        """A further try is made."""
        self._debt += 1

    def leave(self, permit_id: str, *, unpaid: bool = False) -> None:
        self._busy.pop(permit_id, None)
        if unpaid:
            self._debt = max(0.0, self._debt - 1)
