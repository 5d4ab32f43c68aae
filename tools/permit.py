"""A permit: what a call needs before it may start, and what it says of its tool afterwards."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from config.policy import CircuitBreakers, Limits, Retries
from models.run import StopReason, WaitingFor

_DEFAULT, _RETRIES = CircuitBreakers(), Retries()
BUDGET_KEPT_S = 10.0
"""What the budget of retries earns in this time is kept; what it earns beyond is lost."""


class CallOutcome(StrEnum):
    """What a call says of its tool's health."""

    OK = "ok"
    FAILED = "failed"
    PACED = "paced"  # the tool wants fewer calls, and works
    IGNORED = "ignored"  # nothing
    UNUSED = "unused"  # it was never made


@dataclass(frozen=True, slots=True)
class Terms:
    """What the policy says of one tool, for one caller."""

    breakers: CircuitBreakers = _DEFAULT
    limits: Limits | None = None
    retries: Retries = _RETRIES
    limited: bool = field(init=False)
    """Whether each call must ask."""

    def __post_init__(self) -> None:
        own = self.limits
        limited = own is not None and not (own.per_second is None and own.at_once is None)
        object.__setattr__(self, "limited", limited)  # it is frozen

    def every_s(self) -> float | None:
        """The fleet's calls are to be so far apart."""
        own = self.limits
        return 1 / own.per_second if own and own.per_second else None

    def op(self, *, slower: int = 1, again: bool = False) -> dict[str, Any]:
        """The limits, as the board is told of them; of a further try the budget as well."""
        own, every_s = self.limits, self.every_s()
        op: dict[str, Any] = {}
        if again:
            op["again"] = {
                "floor": self.retries.budget_per_second / 1000,
                "share": self.retries.budget_share / self.breakers.window_seconds / 1000,
                "kept": BUDGET_KEPT_S * 1000,
            }
        if own and own.at_once:
            op["at_once"] = own.at_once
        if own and every_s is not None:
            op |= {"every": every_s * slower * 1000, "burst": own.burst}
        return op


class Refused(Exception):
    """Not now: come back after `wait_s`."""

    def __init__(self, waiting: WaitingFor, wait_s: float, told: str) -> None:
        super().__init__(told)
        self.told = told
        self.waiting = waiting
        self.wait_s = wait_s

    @property
    def reason(self) -> StopReason:
        """What a run stops for that heard this for too long."""
        return _REASONS[self.waiting]


_REASONS = {
    WaitingFor.BREAKER: StopReason.CIRCUIT_OPEN,
    WaitingFor.RATE: StopReason.TOOL_RATE_LIMIT,
    WaitingFor.TOOL: StopReason.TOOL_FAILED,
}
