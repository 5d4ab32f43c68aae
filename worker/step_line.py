"""A step's line in the log: one for each call, with the fields that the policy names."""

import time
from typing import Any

import structlog

from worker.held import Held
from worker.order import Order
from worker.outcome import Ask, GateShut, Snooze, Stop, ToolFailed

log = structlog.get_logger()

_STATUS: dict[type[BaseException], str] = {
    ToolFailed: "rejected",
    Snooze: "snoozed",
    Ask: "review",
    GateShut: "gate",
    Stop: "stopped",
}


def tell(held: Held, order: Order, begun: float, error: BaseException | None = None) -> None:
    """Write the line, where the policy names its fields."""
    include = order.ruling.logging.include
    if include is None:
        return
    known: dict[str, Any] = {
        "run_id": str(held.id),
        "tenant": held.tenant,
        "pipeline": f"{held.pipeline}@{held.version}",
        "attempt": held.attempt,
        "step": order.step,
        "tool": order.tool.name,
        "args_hash": order.digest.hex(),
        "elapsed_s": round(time.monotonic() - begun, 4),
        "status": "settled" if error is None else _STATUS.get(type(error), "lost"),
        "stop_reason": getattr(error, "reason", None),
        "tokens": 0,
        "cost_usd": str(order.cost_usd) if error is None else None,
    }
    log.info("step.done", **{name: known[name] for name in include})
