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
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from config.policy import Policy
from config.rulebook import Rulebook
from models.run import StopReason
from tools.health import Health
from tools.tool import Tool, faults
from worker.gatekeeper import Gatekeeper
from worker.held import Held
from worker.journal import Journal
from worker.order import Order
from worker.outcome import LostLease, Overtaken, Stop, ToolFailed
from worker.permission import permit
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
            Stop: A budget or the allowlist does not let the call through, or the run goes in
                circles: then the step is recorded.
            Snooze: Rate limit, open breaker or outage: later, not never.
            Ask: An earlier try may have happened, and only a person can find out.
            GateShut: The fleet's switch forbids writes now.
            LostLease: Another worker has the run now.
        """
        policy = self.rulebook.of(held.tenant, held.pipeline)
        args = _parse(tool, given, strict=policy.validation.input.strict)
        passed = args.__pydantic_serializer__.to_json(args, exclude_unset=True)
        digest = hashlib.sha256(tool.name.encode() + b"\0" + passed).digest()
        order = Order.under(
            policy, tool, step=step, number=number, args=args, passed=passed, digest=digest,
            record=held.record.get(step),
        )  # fmt: skip
        try:
            value: R = await self._outcome(held, order, policy, allowed)
        except ToolFailed as failure:
            _saw(held, order, f"{failure.reason}: {failure}".encode(), failed=True)
            raise
        _saw(held, order, order.result, failed=False)
        return value

    async def _outcome(
        self, held: Held, order: Order, policy: Policy, allowed: Mapping[str, Tool[Any, Any]]
    ) -> Any:
        tool, record = order.tool, order.record
        if record is not None and record.over:
            held.met(tool.name, order.digest)
        if record is not None and (result := record.replay(order.digest)) is not None:
            order.result = result
            return tool.gives.model_validate_json(result)
        if allowed.get(tool.name) is not tool:
            raise Stop(StopReason.TOOL_DENIED, f"{held.pipeline} does not declare {tool.name}")
        permit(policy, tool)
        held.begin(fresh=record is None, calls=1)
        held.meet(policy, tool.name, order.digest)
        trip = Trip(
            self._journal, self.gatekeeper, self._turnstile, held, order, send_s=self._send_before_s
        )
        begun = time.monotonic()
        try:
            value = await trip.make()
        except Overtaken:
            order.result = await self._overtaken(held, order)
            return tool.gives.model_validate_json(order.result)
        except BaseException as error:
            tell(policy.logging, held, order, begun, error)
            raise
        tell(policy.logging, held, order, begun)
        return value

    async def _overtaken(self, held: Held, order: Order) -> bytes:
        """What a worker that had lost the run told of this step while we were at it."""
        for each in await self._journal.load(held.id):
            if each.step == order.step and (result := each.replay(order.digest)) is not None:
                return result
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
