"""A refusal: which gate did not let a call pass, for the audit."""

from datetime import timedelta
from typing import NamedTuple

from models.call_audit import Remark
from models.guard import Guard
from models.run import StopReason, WaitingFor
from tools.permit import Refused
from worker.held import Held
from worker.outcome import Ask, GateShut, OutOfFunds, Snooze, Stop, ToolFailed

_GUARDS = {
    WaitingFor.BREAKER: Guard.HEALTH,
    WaitingFor.RATE: Guard.RATE,
    WaitingFor.SPEND: Guard.SPEND,
    WaitingFor.TOOL: Guard.RATE,  # the fleet's budget of further tries is empty
}
_BY_REASON = {
    StopReason.STEP_BUDGET: Guard.BUDGET,
    StopReason.TOOL_BUDGET: Guard.BUDGET,
    StopReason.TIME_BUDGET: Guard.BUDGET,
    StopReason.COST_BUDGET: Guard.BUDGET,
    StopReason.TOKEN_BUDGET: Guard.BUDGET,
    StopReason.LOOP_DETECTED: Guard.LOOP,
    StopReason.NO_PROGRESS: Guard.LOOP,
    StopReason.REPLAY_MISMATCH: Guard.REPLAY,
}


def snoozed(later: Refused | OutOfFunds, wait_s: float) -> Snooze:
    """Leave until the call may be let through."""
    guard = _GUARDS[later.waiting]
    return Snooze(timedelta(seconds=wait_s), later.waiting, later.told, guard)


class Refusal(NamedTuple):
    """What a guard said of a call."""

    guard: Guard
    reason: str
    """The stop reason, or what the run waits for now."""
    told: str

    def remark(self, held: Held, step: str, tool: str, policy: str, digest: bytes) -> Remark:
        """As the audit keeps it."""
        return Remark(held.id, held.tenant, step, tool, *self, digest, policy)


def refused_by(error: BaseException) -> Refusal | None:
    """What a guard of ours said; None when it was none."""
    if isinstance(error, Stop):
        guard = error.guard or _BY_REASON.get(error.reason)
        return Refusal(guard, error.reason, error.detail) if guard else None
    if isinstance(error, Snooze):
        return Refusal(error.guard, error.waiting_for, error.detail) if error.guard else None
    if isinstance(error, GateShut):
        return Refusal(Guard.GATE, WaitingFor.GATE, f"the gate of {error.scope} is shut")
    if isinstance(error, Ask):
        asked = [each for each in error.questions if each.guard is not None]
        guard = asked[0].guard if asked else None
        return Refusal(guard, WaitingFor.REVIEW, asked[0].text) if guard else None
    if isinstance(error, ToolFailed) and error.reason is StopReason.TOOL_OUTPUT_INVALID:
        return Refusal(Guard.RESULT, error.reason, str(error))
    return None
