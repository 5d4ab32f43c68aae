"""Ceilings on one run, and the arithmetic of keeping them."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

from pydantic import BaseModel, Field

from config.policy import Ceilings
from models.run import StopReason

N = TypeVar("N", int, float, Decimal)


@dataclass(slots=True)
class Usage:
    """What a run has used so far, over all of its attempts; reservations count as used."""

    steps: int = 0
    calls: int = 0
    tokens: int = 0
    usd: Decimal = field(default_factory=Decimal)
    seconds: float = 0.0
    """Active time: waiting for a person, a bell or a snooze does not count."""


class Budget(BaseModel, frozen=True, extra="forbid"):
    """Ceilings on one run, across all of its attempts. Reaching a ceiling is allowed."""

    steps: int = Field(default=200, ge=0)
    tool_calls: int = Field(default=100, ge=0)
    tokens: int = Field(default=200_000, ge=0)
    cost_usd: Decimal = Field(default=Decimal("1.00"), ge=0)
    seconds: float = Field(default=300, gt=0)

    def within(self, ceilings: Ceilings) -> "Budget":
        """The same, and nowhere above what the policy allows any run."""
        if ceilings.none:
            return self
        return Budget(
            steps=_least(self.steps, ceilings.max_steps),
            tool_calls=_least(self.tool_calls, ceilings.max_tool_calls),
            tokens=_least(self.tokens, ceilings.max_tokens),
            cost_usd=_least(self.cost_usd, ceilings.max_usd),
            seconds=_least(self.seconds, ceilings.max_seconds),
        )

    def exceeded_by(self, usage: Usage) -> StopReason | None:
        """Name the first ceiling that `usage` breaks, or None when it fits."""
        if usage.usd > self.cost_usd:
            return StopReason.COST_BUDGET
        if usage.tokens > self.tokens:
            return StopReason.TOKEN_BUDGET
        if usage.calls > self.tool_calls:
            return StopReason.TOOL_BUDGET
        if usage.steps > self.steps:
            return StopReason.STEP_BUDGET
        if usage.seconds > self.seconds:
            return StopReason.TIME_BUDGET
        return None

    def told(self, reason: StopReason) -> str:
        """The ceiling behind a stop reason, for people: `ceiling of 40 steps`."""
        ceiling = {
            StopReason.COST_BUDGET: f"{self.cost_usd} USD",
            StopReason.TOKEN_BUDGET: f"{self.tokens} tokens",
            StopReason.TOOL_BUDGET: f"{self.tool_calls} tool calls",
            StopReason.STEP_BUDGET: f"{self.steps} steps",
            StopReason.TIME_BUDGET: f"{self.seconds:g} s of active time",
        }
        return f"ceiling of {ceiling[reason]}"


def _least(own: N, most: N | None) -> N:
    return own if most is None else min(own, most)
