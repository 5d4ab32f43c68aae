"""A limiter of one process: its share of a tool's limits, for while Redis is away."""

from tools.permit import Terms

BOOKED_S = 2.0
"""A turn that comes within this is waited for in place."""


class Limiter:
    """Rate as in health.lua (GCRA: each call has its time, and a burst may come early)."""

    __slots__ = ("_busy", "_free_at", "_line")

    def __init__(self) -> None:
        self._free_at = 0.0
        self._line = 0.0
        self._busy: dict[str, float] = {}

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

    def leave(self, permit_id: str) -> None:
        self._busy.pop(permit_id, None)
