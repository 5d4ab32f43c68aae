"""The one door between a run and the world. Every call passes these gates, in this order:

1  settled    a settled step returns its record, and asks nothing
2  contract   arguments are parsed; unknown fields are refused
3  allowlist  only tools that the pipeline declares and the policy allows; nothing destructive
4  budget     what the call may use at most must fit what is left
5  gate       as this process last saw it, for each try; unseen for three seconds: nothing starts
6  health     breaker, rate and concurrency of the tool, for each try; an ill one parks the run
7  admit      one transaction: fence, gate, reservation, intent (a free read skips it)
8  send       with the step's key and a deadline
9  contract   the result is parsed, and comes back from the bytes that are recorded
10 settle     one transaction: fence, outcome, cost
11 repetition what goes in circles ends here; a replayed step is looked at as well
"""

import hashlib
import time
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from config.rulebook import Rulebook
from models.run import StopReason
from tools.health import Health
from tools.tool import Tool, faults
from worker.gatekeeper import Gatekeeper
from worker.held import Held
from worker.journal import Journal
from worker.order import Order
from worker.outcome import LostLease, Overtaken, Stop, ToolFailed
from worker.record import Record
from worker.ruling import Rulings
from worker.step_line import tell
from worker.trip import Trip
from worker.turnstile import Turnstile

A = TypeVar("A", bound=BaseModel)
R = TypeVar("R", bound=BaseModel)


class Gateway:
    """Carries out a pipeline's calls for one worker process."""

    def __init__(
        self,
        journal: Journal,
        gatekeeper: Gatekeeper,
        rulebook: Rulebook,
        health: Health | None = None,
        *,
        send_before_s: float,
    ) -> None:
        self.gatekeeper = gatekeeper
        self.rulebook = rulebook
        self._turnstile = Turnstile(health, rulebook, gatekeeper)
        self._rulings = Rulings(rulebook)
        self._journal = journal
        self._send_before_s = send_before_s

    async def call(
        self,
        held: Held,
        tool: Tool[A, R],
        given: Mapping[str, Any],
        *,
        step: str,
        number: int,
        allowed: Mapping[str, Tool[Any, Any]],
    ) -> R:
        """Do a step once, whatever happens to the worker; return its result, now or from before.

        Raises:
            ToolFailed: The tool's final failure, as recorded.
            Stop: A budget or the policy does not let it pass, or the run goes in circles.
            Snooze, GateShut, Ask: Not now; not while the gate is shut; not before a person answers.
            LostLease: Another worker has the run now.
        """
        ruling = self._rulings.of(held.tenant, held.pipeline, tool)
        args = _parse(tool, given, strict=ruling.strict)
        passed = args.__pydantic_serializer__.to_json(args, exclude_unset=True)
        digest = hashlib.sha256(tool.name.encode() + b"\0" + passed).digest()
        order = Order(step, number, tool, args, passed, digest, held.record.get(step), ruling)
        if order.record is not None and order.record.over:
            return cast(R, self._replayed(held, order))
        if order.record is not None:
            order.record.replay(digest)  # another question than before ends the run here
        if allowed.get(tool.name) is not tool:
            raise Stop(StopReason.TOOL_DENIED, f"{held.pipeline} does not declare {tool.name}")
        ruling.permit()
        held.begin(fresh=order.record is None, calls=1)
        held.meet(tool.name, digest, ruling)
        trip = self._trip(held, order)
        begun = time.monotonic()
        try:
            value: R = await trip.make()
        except Overtaken:
            order.record = await self._overtaken(held, order)
            return cast(R, self._replayed(held, order))
        except BaseException as error:
            tell(held, order, begun, error)
            if isinstance(error, ToolFailed):
                _saw_failure(held, order, error)
            raise
        tell(held, order, begun)
        _saw(held, order, order.result, failed=False)
        return value

    def _trip(self, held: Held, order: Order) -> Trip:
        parts = (self._journal, self.gatekeeper, self._turnstile)
        return Trip(*parts, held, order, send_s=self._send_before_s)

    def _replayed(self, held: Held, order: Order) -> Any:
        """The outcome on record, counted and judged like a fresh one."""
        assert order.record is not None  # noqa: S101  # for the type checker; who calls has looked
        tool = order.tool
        held.met(tool.name, order.digest)
        try:
            result = order.record.replay(order.digest)
        except ToolFailed as failure:
            _saw_failure(held, order, failure)
            raise
        _saw(held, order, result or b"null", failed=False)
        return tool.gives.model_validate_json(result or b"null")

    async def _overtaken(self, held: Held, order: Order) -> Record:
        """What a worker that had lost the run told of this step while we were at it."""
        for each in await self._journal.load(held.id):
            if each.step == order.step and each.over:
                return each
        raise LostLease


def _parse(tool: Tool[A, R], given: Mapping[str, Any], *, strict: bool) -> A:
    try:
        return tool.takes.model_validate(dict(given), strict=strict or None)
    except ValidationError as error:
        raise Stop(
            StopReason.TOOL_DENIED, f"{tool.name} does not take these arguments: {faults(error)}"
        ) from error


def _saw(held: Held, order: Order, got: bytes, *, failed: bool) -> None:
    """Note a step whose outcome is recorded, before the pipeline hears of it."""
    tool = order.tool
    if not (tool.poll or held.undoing):
        held.repetition.saw(tool.name, order.digest, got, writes=tool.writes, failed=failed)


def _saw_failure(held: Held, order: Order, failure: ToolFailed) -> None:
    _saw(held, order, f"{failure.reason}: {failure}".encode(), failed=True)
