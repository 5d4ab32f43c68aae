"""The four ways, beside returning, in which a run leaves a worker."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from models.gate import GateMode
from models.guard import Guard
from models.review import ReviewKind
from models.run import StopReason, WaitingFor
from models.scope import FLEET


class Outcome(BaseException):
    """How does the run leave this worker?

    - Stop          finish now, with a reason
    - Snooze        give it back until later; no crash counted
    - Ask           park it until a person answers
    - LostLease     somebody else has it: write nothing more

    Not an `Exception`, so that a pipeline's `except Exception` cannot swallow it.
    """


@dataclass(eq=False)
class Stop(Outcome):
    """Finish now; what `flow.partial` kept goes to the client."""

    reason: StopReason
    detail: str = ""
    guard: Guard | None = None
    """Which gate refused a call; None: what its reason says, if it says one."""

    def shown(self, redact: Callable[[Any], Any]) -> str:  # noqa: ARG002  # who has values to show
        """For people."""
        return self.detail


@dataclass(eq=False)
class Snooze(Outcome):
    """Come back later, from the same step; nothing is burned but time."""

    delay: timedelta
    waiting_for: WaitingFor
    detail: str = ""
    guard: Guard | None = None
    """Which gate refused a call for now; None: none of ours."""


@dataclass(frozen=True)
class Question:
    """One thing a person is asked, about one step."""

    step: str
    number: int
    kind: ReviewKind
    text: str
    proposal: bytes | None
    answer_schema: dict[str, Any]
    args_hash: bytes
    decide_within: timedelta
    fresh: bool = True
    """The step is new: it counts against the budget of steps."""
    approves: bytes | None = None
    """An approval: the hash of exactly these arguments."""
    tool: str | None = None
    effect: str | None = None
    args: bytes | None = None
    labels: bytes | None = None
    """Likewise: the call as it will stand in the ledger."""
    guard: Guard | None = None
    """Likewise: which gate asks."""


@dataclass(eq=False)
class Ask(Outcome):
    """Park until every question is answered."""

    questions: list[Question] = field(default_factory=list)


@dataclass(eq=False)
class GateShut(Outcome):
    """A switch does not let this step start: park until it stands in the mode that it needs."""

    scope: str = FLEET
    needs: GateMode = GateMode.OPEN


@dataclass(eq=False)
class OutOfFunds(Outcome):
    """A day's ceiling of the tenant or the fleet does not let this call start now."""

    told: str = ""
    waiting = WaitingFor.SPEND
    reason = StopReason.COST_BUDGET
    wait_s = 30.0
    """Reservations may be given back."""


class Unapproved(Outcome):
    """No person has approved exactly this call, or it was too long ago: ask, or ask again."""


class LostLease(Outcome):
    """Another attempt owns the run, or will: whatever this one knows is history."""


class Overtaken(LostLease):
    """The step got its outcome from an earlier try meanwhile: look at the record again.

    Where nobody does, the run is let go and claimed again, and replays it.
    """


class ToolFailed(Exception):  # a pipeline may catch it, so it is no Outcome
    """A tool's final failure: the step's recorded outcome, raised again by every replay."""

    def __init__(self, message: str, reason: StopReason) -> None:
        super().__init__(message)
        self.reason = reason
