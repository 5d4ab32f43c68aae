"""A fallback: the short forms of catching a call's final failure, and of going on without it."""

from collections.abc import Awaitable, MutableMapping
from typing import Any, NamedTuple

import structlog

from models.route import ROUTES, Route
from tools.tool import Tool
from worker.held import Held
from worker.labels.provenance import Origin
from worker.outcome import ToolFailed

log = structlog.get_logger()

SHORT = frozenset({"fallback", "minor"})
"""What may be said of a call beside its arguments."""
_TOLD_CHARS = 300


class Fallback(NamedTuple):
    """What a pipeline goes on with instead of a result."""

    value: Any
    minor: bool

    async def of(self, call: Awaitable[Any], step: str, tool: Tool[Any, Any], held: Held) -> Any:
        """The call's result, or this. The failure is what is on record, so a replay comes by here
        as well; a critical one is raised all the same, for somebody has to hear of it."""
        try:
            return await call
        except ToolFailed as failure:
            if ROUTES[failure.reason] is Route.CRITICAL:
                raise
            if step not in held.record or not held.record[step].over:  # told by no attempt yet
                log.warning(
                    "step.minor" if self.minor else "step.fallback",
                    step=step,
                    tool=tool.name,
                    reason=failure.reason,
                    told=str(failure)[:_TOLD_CHARS],
                )
        if not self.minor:  # as trusted as its type lets it be, whatever it was made of
            held.provenance.origins[step] = Origin(self.value, tool.gives)
        return self.value


def taken(tool: Tool[Any, Any], arguments: MutableMapping[str, Any]) -> Fallback | None:
    """Take `fallback=` or `minor=True` out of a call's arguments.

    Raises:
        TypeError: The fallback is no result of this tool, or is none and minor at once.
        ValueError: The tool has an argument of that name: catch its ToolFailed instead.
    """
    words = arguments.keys() & SHORT
    if not words or words <= tool.takes.model_fields.keys():
        return None
    if clash := words & tool.takes.model_fields.keys():
        told = f"{tool.name} takes {clash.pop()!r} itself: catch its ToolFailed instead"
        raise ValueError(told)
    minor = arguments.pop("minor", False)
    if "fallback" not in arguments:
        return Fallback(None, minor=True) if minor else None
    value = arguments.pop("fallback")
    if minor or not isinstance(value, tool.gives):
        wanted = f"a {tool.gives.__name__}, as {tool.name} gives one, and not minor as well"
        raise TypeError(f"a fallback is {wanted}; this is {value!r}"[:_TOLD_CHARS])
    return Fallback(value, minor=False)
