"""An order: what a pipeline wants done, checked and ready to leave."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from config.policy import Policy, Spend
from tools.tool import Call, Tool, ToolError
from worker.record import Record


@dataclass(slots=True)
class Order:
    """What is to be done: one step, one tool, one set of arguments."""

    step: str
    number: int
    tool: Tool[Any, Any]
    args: BaseModel
    passed: bytes
    """The arguments as the pipeline gave them, before defaults."""
    digest: bytes
    record: Record | None
    timeout_s: float
    """The tool's own, or the policy's where that is shorter."""
    attempts: int
    """Tries in one place, before the run leaves to wait elsewhere."""
    tries: float
    """Tries in all, snoozed ones included; infinite where the policy does not say."""
    backoff_ms: tuple[int, ...]
    retryable: frozenset[int] | None
    """HTTP answers after which one more try may help; None: whichever may be tried again."""
    spend: Spend
    result: bytes = b""
    """As it was recorded, once it is."""

    @classmethod
    def under(cls, policy: Policy, tool: Tool[Any, Any], **more: Any) -> "Order":
        """An order as the policy has it: it may narrow what the tool says, and never widens it."""
        retries, limits = policy.tools.retries, policy.limits(tool.name)
        timeout_s = policy.tools.timeouts_s.of(tool.name)
        return cls(
            tool=tool,
            timeout_s=tool.timeout_s if timeout_s is None else min(tool.timeout_s, timeout_s),
            attempts=min(tool.retries + 1, retries.max_attempts or tool.retries + 1),
            tries=float("inf")
            if limits is None or limits.max_retries is None
            else limits.max_retries + 1,
            backoff_ms=retries.backoff_ms,
            retryable=None
            if retries.retryable_status is None
            else frozenset(retries.retryable_status),
            spend=policy.spend,
            **more,
        )

    def worth_another(self, error: ToolError) -> bool:
        """Whether the policy lets a call that did nothing be tried again after this."""
        return self.retryable is None or error.status is None or error.status in self.retryable

    def call(self, run_id: UUID, tenant: str, *, since: float, send_s: float | None) -> Call:
        """What the tool is told of one try; `send_s`: how long after its intent it may leave."""
        return Call(
            run_id=run_id,
            tenant=tenant,
            step=self.step,
            key=f"{run_id}:{self.step}",
            deadline=since + self.timeout_s + (send_s or 0),
            send_before=float("inf") if send_s is None else since + send_s,
        )
