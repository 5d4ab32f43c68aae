"""A turnstile: asks a tool's health before each try, and tells it what became of it."""

import asyncio
import time
from types import TracebackType
from typing import Any, Self

from config.rulebook import Rulebook
from models.run import StopReason
from tools.health import Health
from tools.patient import Permit
from tools.permit import CallOutcome, Terms
from tools.tool import Rejected, Tool, ToolError, Unavailable
from worker.gatekeeper import Gatekeeper
from worker.held import Held

_LEASE_MARGIN_S = 5.0
"""Beyond a tool's own time-out: for the intent before it, and the outcome after it."""
_MOST_TERMS = 10_000
_SAYS_NOTHING = {StopReason.TOOL_AUTH_FAILED, StopReason.TOOL_DENIED}


class Visit:
    """One try's way through. Left without having begun, its permit is given back."""

    __slots__ = ("_health", "_permit", "since")

    def __init__(self, health: Health | None = None, permit: Permit | None = None) -> None:
        self.since = time.monotonic()
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

    def __init__(self, health: Health | None, rulebook: Rulebook, gatekeeper: Gatekeeper) -> None:
        self._health = health
        self._rulebook = rulebook
        self._gatekeeper = gatekeeper
        self._revision = ""
        self._terms: dict[tuple[str, str, str], Terms] = {}

    def at_once(self, held: Held, tool: Tool[Any, Any]) -> Visit | None:
        """Let a try start that nobody need be asked about: the usual case, without a wait."""
        if self._health is None:
            return Visit()
        permit = self._health.at_once(tool.name, self._of(held, tool.name))
        return Visit(self._health, permit) if permit is not None else None

    async def enter(self, held: Held, tool: Tool[Any, Any]) -> Visit:
        """Let a try start, after its turn has come.

        Raises:
            Refused: Not now.
            GateShut: The gate was shut while it waited for its turn.
        """
        health, gatekeeper = self._health, self._gatekeeper
        if health is None:
            return Visit()
        permit = await health.admit(
            tool.name,
            self._of(held, tool.name),
            lease_s=tool.timeout_s + _LEASE_MARGIN_S,
            halved=gatekeeper.careful(held, tool),
        )
        visit = Visit(health, permit)
        if permit.waits_s:
            with visit:
                await asyncio.sleep(permit.waits_s)
                await gatekeeper.admit(held, tool)
            visit.since = time.monotonic()
        return visit

    def _of(self, held: Held, tool: str) -> Terms:
        """What the policy says. The breaker is the fleet's: no overlay changes its rules."""
        rulebook = self._rulebook
        if rulebook.revision != self._revision or len(self._terms) > _MOST_TERMS:
            self._revision = rulebook.revision
            self._terms.clear()
        known = self._terms.get((held.tenant, held.pipeline, tool))
        if known is None:
            limits = rulebook.of(held.tenant, held.pipeline).limits(tool)
            known = Terms(rulebook.file.policy.tools.circuit_breakers, limits)
            self._terms[held.tenant, held.pipeline, tool] = known
        return known


def _outcome(error: BaseException) -> CallOutcome:
    """What an error says of the tool. One that was refused its login works, and one that a bug of
    ours, the end of its run, or the policy's egress cut off said nothing."""
    if not isinstance(error, ToolError) or error.reason in _SAYS_NOTHING:
        return CallOutcome.IGNORED
    refused = isinstance(error, Rejected) and error.reason is not StopReason.TOOL_OUTPUT_INVALID
    return CallOutcome.OK if refused else CallOutcome.FAILED
