"""An allowance: whether a run may make a call at all, and what that takes of what is left to it."""

from collections.abc import Mapping
from typing import Any

from models.guard import Guard
from models.run import StopReason
from tools.tool import Tool
from worker.held import Held
from worker.order import Order
from worker.outcome import Stop


def allow(held: Held, order: Order, declared: Mapping[str, Tool[Any, Any]]) -> None:
    """Gates 3 and 4 of a call, counted on `held`: allowlist, effect, what it may cost, ceilings.

    Raises:
        Stop: Nobody may make it, or it would break a ceiling.
    """
    tool, ruling = order.tool, order.ruling
    if declared.get(tool.name) is not tool:
        told = f"{held.pipeline} does not declare {tool.name}"
        raise Stop(StopReason.TOOL_DENIED, told, Guard.ALLOWLIST)
    ruling.permit(by_person=order.proposes or order.warrant is not None)
    order.reckon()
    held.begin(fresh=order.record is None, calls=1)
    held.meet(tool.name, order.digest, ruling)
