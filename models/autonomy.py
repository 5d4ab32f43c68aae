"""Autonomy: how much a pipeline may do by itself for one tenant."""

from enum import StrEnum


class Autonomy(StrEnum):
    """Each allows what those before it allow."""

    OBSERVE = "observe"  # reads; what it would write is proposed
    REVERSIBLE = "reversible"  # and writes that can be taken back
    ACT = "act"  # and every write that the policy allows

    @property
    def rank(self) -> int:
        """The higher, the more is allowed."""
        return list(Autonomy).index(self)
