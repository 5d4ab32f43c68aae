"""A call on its way to a server: whether its bytes have left, and what came back on the wire."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import monotonic

from models.run import StopReason
from tools.tool import Call, ToolError, Unavailable

KEY_META = "sluice/idempotency-key"
"""Where in the request's `_meta` our key goes along."""


@dataclass(slots=True)
class Leaving:
    """One call, as the transport below the client sees it."""

    call: Call
    what: str
    """The tool's name, for people."""
    writes: bool
    left: bool = False
    refusal: ToolError | None = None
    """Why it did not leave. The client hides what is raised below it."""
    status: int | None = None
    """The HTTP status that answered it, where it was one that says no."""
    headers: Mapping[str, str] = field(default_factory=dict)
    broke: str = ""
    """What became of the connection under it."""
    too_large: bool = False

    def leave(self) -> None:
        """The last moment before the first byte: the clock is read again.

        Raises:
            Unavailable: It is too late, or this call has left before.
        """
        self.refuse_when_late()
        if self.left:
            self.refusal = Unavailable(f"{self.what} was sent on to elsewhere, and did not go.")
            raise self.refusal
        self.left = True

    def refuse_when_late(self) -> None:
        if monotonic() >= self.until:
            self.refusal = Unavailable(
                f"{self.what} was not sent: the time in which it may leave had passed.",
                reason=StopReason.TOOL_TIMEOUT,
            )
            raise self.refusal

    @property
    def until(self) -> float:
        """On the monotonic clock: it may not leave after it."""
        return min(self.call.deadline, self.call.send_before if self.writes else float("inf"))


leaving: ContextVar[Leaving | None] = ContextVar("leaving", default=None)
"""Of the task that calls; the client takes it along to where it sends."""
