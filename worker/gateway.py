"""The one door between a run and the world. Every call passes these gates, in this order:

1  settled    a settled step returns its record, and asks nothing
2  contract   arguments are parsed; unknown fields are refused
3  allowlist  only tools that the pipeline declares and the policy allows; destructive ones only
              as a proposal, or under an approved one
4  budget     what the call may use at most must fit what is left
5  labels     where each argument comes from, against the sinks that the tool declares
6  approval   what text from outside would choose, or the policy says so: a person is asked first;
              what is proposed, or withheld for want of autonomy, is put to one and goes no further
7  gate       as this process last saw it, for each try; unseen for three seconds: nothing starts
8  health     breaker, rate and concurrency of the tool, for each try; an ill one parks the run
9  admit      one transaction: fence, gate, approval, reservation, intent (a free read skips it)
10 send       with the step's key and a deadline
11 contract   the result is parsed, and comes back from the bytes that are recorded
12 settle     one transaction: fence, outcome, cost
13 repetition what goes in circles ends here; a replayed step is looked at as well

A write whose undo wants a snapshot has it taken after 6, by a call of its own (worker/snapshot.py).
"""

import asyncio
import hashlib
import time
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from config.rulebook import Rulebook
from models.autonomy import Autonomy
from models.guard import Guard
from models.run import StopReason
from tools.health import Health
from tools.tool import Tool
from worker.allowance import allow
from worker.approval import keeps, legible, question, reasons
from worker.drafting import judge, mandated, parse, restate
from worker.gatekeeper import Gatekeeper
from worker.held import Held
from worker.journal import Journal
from worker.labels.provenance import Origin
from worker.labels.sinks import bound
from worker.order import Order
from worker.outcome import Ask, GateShut, LostLease, Overtaken, Snooze, Stop, ToolFailed
from worker.proposal import Proposal, withheld
from worker.record import Record
from worker.refusal import Refusal, refused_by
from worker.ruling import Rulings
from worker.snapshot import Precaution
from worker.step_line import tell
from worker.trip import Trip
from worker.turnstile import Turnstile
from worker.warrant import Mandate, Warrant

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
        self._turnstile = Turnstile(health, gatekeeper)
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
        proposed: bool = False,
        because: str = "",
        mandate: Mandate | None = None,
        before: Precaution | None = None,
        under: Warrant | None = None,
    ) -> R:
        """Do a step once, whatever happens to the worker; return its result, now or from before.

        `proposed`: a model chose this call. Its writes need a person, and trusted arguments.
        `because`: the call is put to a person instead, and gives a Proposed.
        `mandate`: a person has approved it elsewhere; `given` then counts for nothing.
        `under`: it is the snapshot of such a call.

        Raises:
            ToolFailed: The tool's final failure, as recorded.
            Stop: A budget or the policy does not let it pass, or the run goes in circles.
            Snooze, GateShut, Ask: Not now; not while the gate is shut; not before a person answers.
            LostLease: Another worker has the run now.
        """
        order: Order | None = None
        try:
            order = self.draft(
                held, tool, given, step, number,
                proposed=proposed, because=because, mandate=mandate, under=under,
            )  # fmt: skip
            if before is not None:
                await before.replay(order.args, order.warrant)
            return cast(R, await self._carry_out(held, order, allowed, before))
        except (Stop, Snooze, GateShut, Ask, ToolFailed) as error:
            said = refused_by(error)
            if said is not None:
                digest, policy = order.digest if order else b"", self.rulebook.revision
                remark = said.remark(held, step, tool.name, policy, digest)
                await asyncio.shield(self._journal.note(remark))  # though its run is cut off now
            raise

    def draft(
        self,
        held: Held,
        tool: Tool[Any, Any],
        given: Mapping[str, Any],
        step: str,
        number: int,
        *,
        proposed: bool,
        because: str = "",
        mandate: Mandate | None = None,
        under: Warrant | None = None,
    ) -> Order:
        """What is to be done, its arguments parsed, and where they come from."""
        record = held.record.get(step)
        if mandate is not None:
            ruling = self._rulings.of(held.tenant, mandate.pipeline, tool)
            return mandated(tool, mandate, ruling, step=step, number=number, record=record)
        ruling = self._rulings.of(held.tenant, (under and under.behalf) or held.pipeline, tool)
        given, references = bound(given, held.provenance)
        args = parse(tool, given, strict=ruling.strict, proposed=proposed)
        passed = args.__pydantic_serializer__.to_json(args, exclude_unset=True)
        if len(passed) > ruling.most_bytes[0]:
            told = f"{tool.name} is not given {len(passed):,} bytes: see validation.input.max_bytes"
            raise Stop(StopReason.TOOL_DENIED, told, Guard.CONTRACT)
        asked = b"propose\0" if because else b""
        digest = hashlib.sha256(asked + tool.name.encode() + b"\0" + passed).digest()
        order = Order(step, number, tool, args, passed, digest, record, ruling, proposed)
        order.warrant = under
        if because:
            order.aside, order.proposes = because, True
        elif held.autonomy is not Autonomy.ACT:
            order.aside = withheld(held, order, self._rulings)
        judged = proposed or ruling.sinks is not None
        if judged or ruling.asks or order.aside:
            legible(tool, args)
        if judged and (record is None or not record.over):  # what is over has its bits on record
            order.judged = judge(held, order, references)
        if record is not None:
            restate(order)
        return order

    async def _carry_out(
        self, held: Held, order: Order, allowed: Mapping[str, Tool[Any, Any]],
        before: Precaution | None,
    ) -> Any:  # fmt: skip
        tool, record, ruling = order.tool, order.record, order.ruling
        if record is not None and record.over:
            return self._replayed(held, order)
        if record is not None:
            record.replay(order.digest, order.asked)  # another question ends the run here
        allow(held, order, allowed)
        if ruling.run_per_minute is not None and record is None:
            held.pace.step(tool.name, ruling.run_per_minute)
        if order.questionable:
            await _approve(held, order)
        if before is not None and not order.aside:
            await before.take(order.args, order.warrant)
        if ruling.sensitive and not order.aside:
            said = Refusal(Guard.SENSITIVE, "sends", "; ".join(order.asks))
            remark = said.remark(held, order.step, tool.name, ruling.revision, order.digest)
            await self._journal.note(remark)
        way, begun = self._way(held, order), time.monotonic()
        try:
            value = await way.make()
        except Overtaken:
            order.record = await self._overtaken(held, order)
            return self._replayed(held, order)
        except BaseException as error:
            tell(held, order, begun, error)
            _saw_failure(held, order, error)
            raise
        tell(held, order, begun)
        _saw(held, order, order.result, failed=False)
        return value

    def _way(self, held: Held, order: Order) -> Trip | Proposal:
        if order.aside and order.unfit is None:
            return Proposal(self._journal, self.gatekeeper, held, order)
        parts = (self._journal, self.gatekeeper, self._turnstile)
        return Trip(*parts, held, order, send_s=self._send_before_s)

    def _replayed(self, held: Held, order: Order) -> Any:
        """The outcome on record, counted and judged like a fresh one."""
        assert order.record is not None  # noqa: S101  # for the type checker; who calls has looked
        tool = order.tool
        held.met(tool.name, order.digest)
        try:
            result = order.record.replay(order.digest, order.asked)
        except ToolFailed as failure:
            _saw_failure(held, order, failure)
            raise
        _saw(held, order, result or b"null", failed=False)
        return order.origin[0].model_validate_json(result or b"null")

    async def _overtaken(self, held: Held, order: Order) -> Record:
        """What a worker that had lost the run told of this step while we were at it."""
        for each in await self._journal.load(held.id):
            if each.step == order.step and each.over:
                return each
        raise LostLease


async def _approve(held: Held, order: Order) -> None:
    """Ask a person who must allow this call; whether one has, its intent looks up.

    Raises:
        Ask: Nobody has been asked yet.
    """
    order.asks = await reasons(order, held.tenant)
    if order.asks and order.record is None:
        raise question(order, kept=keeps(held, order))


def _saw(held: Held, order: Order, got: bytes, *, failed: bool) -> None:
    """Note a step whose outcome is recorded, before the pipeline hears of it."""
    tool = order.tool
    if not failed:
        held.provenance.origins[order.step] = Origin(got, *order.origin)
    if not (tool.poll or held.undoing):
        held.repetition.saw(tool.name, order.digest, got, writes=tool.writes, failed=failed)


def _saw_failure(held: Held, order: Order, failure: BaseException) -> None:
    if isinstance(failure, ToolFailed):
        _saw(held, order, f"{failure.reason}: {failure}".encode(), failed=True)
