"""Permission: what the policy says of a tool before it is used at all."""

from typing import Any

from config.policy import Policy
from models.run import StopReason
from tools.tool import Effect, Tool, unknowable
from worker.outcome import Stop


def permit(policy: Policy, tool: Tool[Any, Any]) -> None:
    """Let a pipeline's declared tool pass.

    Raises:
        Stop: `tool_denied`, naming the rule: denied, not allowed, destructive, or a write whose
            target does not know our key though the policy demands that.
    """
    if tool.effect is Effect.DESTRUCTIVE:
        raise _denied(f"{tool.name} is destructive: no run executes it by itself")
    judged = policy.judge(tool.name)
    if not judged.allowed:
        names = f" ({judged.pattern})" if judged.pattern else ": it does not name it"
        raise _denied(f"{tool.name} is not allowed by {judged.rule} of the policy{names}")
    if tool.name in policy.tools.idempotency_required and not answerable(tool):
        raise _denied(
            f"{tool.name} is among tools.idempotency_required of the policy, but its target neither"
            " knows our key nor can be asked what became of a write"
        )


def answerable(tool: Tool[Any, Any]) -> bool:
    """Whether a doubt about the tool can be ended without a person."""
    return tool.effect is not Effect.WRITE_ONCE or tool.lookup is not unknowable


def _denied(why: str) -> Stop:
    return Stop(StopReason.TOOL_DENIED, why)
