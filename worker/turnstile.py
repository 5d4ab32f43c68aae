"""A turnstile: asks a tool's health before each try, and tells it what became of it."""

import asyncio
import time
from types import TracebackType
from typing import Self

from models.run import StopReason
from tools.health import Health
from tools.patient import Permit
from tools.permit import CallOutcome
from tools.tool import Rejected, ToolError, Unavailable
from worker.gatekeeper import Gatekeeper
from worker.held import Held
from worker.order import Order

_LEASE_MARGIN_S = 5.0
"""Beyond a tool's own time-out: for the intent before it, and the outcome after it."""
_SAYS_NOTHING = {StopReason.TOOL_AUTH_FAILED, StopReason.TOOL_DENIED}


class Visit:
    """One try's way through. Left without having begun, its permit is given back."""

    __slots__ = ("_health", "_permit", "since")

    def __init__(self, health: Health | None = None, permit: Permit | None = None) -> None:
        self.since = permit.since if permit else time.monotonic()
        """From when on its deadlines count."""
        self._health = health
        self._permit = permit

    def begins(self) -> None:
        """The call leaves us now."""
        if self._permit is not None:
            self._permit.begin()

    def ends(self, outcome: CallOutcome, *, retry_after_s: float | None = None) -> None:
        """What the call says of its tool; only the first word counts."""
        if self._health is not None and self._permit is not None:
            permit, self._permit = self._permit, None
            self._health.report(permit, outcome, retry_after_s=retry_after_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> None:
        """A call that came back with a result is judged by whoever reads it."""
        if self._permit is None or error is None:
            return
        if not self._permit.begun:
            self.ends(CallOutcome.UNUSED)
        elif isinstance(error, Unavailable) and error.reason is StopReason.TOOL_RATE_LIMIT:
            self.ends(CallOutcome.PACED, retry_after_s=error.retry_after_s)
        else:
            self.ends(_outcome(error))


class Turnstile:
    """One per worker process; without a health to ask, everybody passes."""

    def __init__(self, health: Health | None, gatekeeper: Gatekeeper) -> None:
        self._health = health
        self._gatekeeper = gatekeeper

    def at_once(self, order: Order) -> Visit | None:
        """Let a try start that nobody need be asked about: the usual case, without a wait."""
        health = self._health
        if health is None:
            return Visit()
        permit = health.at_once(order.tool.name, order.ruling.terms)
        return None if permit is None else Visit(health, permit)

    async def enter(self, held: Held, order: Order, *, again: bool = False) -> Visit:
        """Let a try start, after its turn has come; `again`: it is not the first one.

        Raises:
            Refused: Not now.
            GateShut: The gate was shut while it waited for its turn.
        """
        health, gatekeeper, tool = self._health, self._gatekeeper, order.tool
        if health is None:
            return Visit()
        permit = await health.admit(
            tool.name,
            order.ruling.terms,
            lease_s=tool.timeout_s + _LEASE_MARGIN_S,
            halved=gatekeeper.careful(held, tool),
            again=again,
        )
        visit = Visit(health, permit)
        if permit.waits_s:
            with visit:
                await asyncio.sleep(permit.waits_s)
                await gatekeeper.admit(held, tool)
            visit.since = time.monotonic()
        return visit


def _outcome(error: BaseException) -> CallOutcome:
    """What an error says of the tool. One that was refused its login works, and one that a bug of
    ours, the end of its run, or the policy's egress cut off said nothing."""
    if not isinstance(error, ToolError) or error.reason in _SAYS_NOTHING:
        return CallOutcome.IGNORED
    refused = isinstance(error, Rejected) and error.reason is not StopReason.TOOL_OUTPUT_INVALID
    return CallOutcome.OK if refused else CallOutcome.FAILED
