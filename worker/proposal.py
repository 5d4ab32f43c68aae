"""A proposal: a call that is put to a person, because its pipeline says so or may not do more.

A withheld write is rehearsed where its tool can: the pipeline goes on with what would have come of
it. Else the step fails as `proposed`, and a replay fails alike.
"""

import time
from typing import Any

import orjson
from pydantic_core import to_json

from models.autonomy import Autonomy
from models.ledger import UNDO, EntryState, StepKind
from models.review import ReviewKind
from models.run import StopReason
from tools.tool import Rejected, ToolError
from worker.approval import DECIDE_WITHIN, editable, exactly
from worker.checkpoint import Entry
from worker.gatekeeper import Gatekeeper
from worker.held import Held
from worker.journal import Journal
from worker.order import Order, Proposed
from worker.outcome import Question, ToolFailed
from worker.proposing import Proposing, id_of
from worker.ruling import Rulings
from worker.token import token
from worker.use import checked, rehearsed

_TOLD_CHARS = 500


def withheld(held: Held, order: Order, rulings: Rulings) -> str:
    """Why a call is more than its run may do by itself; empty: it may, or has begun to already.

    What the policy lets nobody take back cannot be taken back.
    """
    tool, record = order.tool, order.record
    begun = record is not None and record.state is not EntryState.RELEASED
    if not tool.writes or order.step.startswith(UNDO) or begun or order.step in held.precautions:
        return ""
    if held.autonomy is Autonomy.OBSERVE:
        return f"{held.pipeline} only observes here"
    undo = tool.undo.tool if tool.undo else None
    if undo is None or rulings.of(held.tenant, held.pipeline, undo).denied is not None:
        return f"{held.pipeline} does by itself only what can be taken back"
    return ""


class Proposal:
    """One call's way to a person."""

    def __init__(self, journal: Journal, gatekeeper: Gatekeeper, held: Held, order: Order) -> None:
        self._journal, self._gatekeeper = journal, gatekeeper
        self._held, self._order = held, order

    async def make(self) -> Any:
        """The Proposed of a step that proposes; the rehearsal's result of one that was withheld.

        Raises:
            ToolFailed: `proposed` where there is no rehearsal; or what the rehearsal was refused.
        """
        order = self._order
        if order.proposes:
            return await self._succeed(to_json(self._proposed), self._proposed)
        try:
            result = await self._rehearse()
        except Rejected as error:  # so would the call have been: there is nothing to propose
            told = order.ruling.logging.redactor(str(error))
            await self._write(error=_told(error.reason, told), question=None)
            raise ToolFailed(told, error.reason) from error
        if result is None:
            message = f"{order.aside}: {order.tool.name} is proposed, as {self._proposed.id}"
            await self._write(error=_told(StopReason.PROPOSED, message), question=question(order))
            raise ToolFailed(message, StopReason.PROPOSED)
        return await self._succeed(*result)

    @property
    def _proposed(self) -> Proposed:
        return Proposed(id=id_of(self._held.id, self._order.step))

    async def _succeed(self, written: bytes, value: Any) -> Any:
        await self._write(result=written, question=question(self._order))
        self._order.result = written
        return value

    async def _rehearse(self) -> tuple[bytes, Any] | None:
        """What would come of it, if that can be known now.

        Raises:
            Rejected: The target would refuse it.
            GateShut: Nothing leaves, not even to look.
        """
        order, held = self._order, self._held
        if order.tool.rehearse is not None:
            await self._gatekeeper.admit(held, order.tool, looking=True)
        call = order.call(held.id, held.tenant, since=time.monotonic(), send_s=None)
        try:
            result = await rehearsed(order.tool, order.args, call)
            return checked(order.tool, result, order.ruling.most_bytes[1])
        except Rejected:
            raise
        except ToolError:
            return None

    async def _write(
        self, *, question: Question | None, result: bytes | None = None, error: bytes | None = None
    ) -> None:
        order, held = self._order, self._held
        entry = Entry(
            run_id=held.id,
            attempt=held.attempt,
            step=order.step,
            number=order.number,
            kind=StepKind.PROPOSE,
            args_hash=order.digest,
            token=token(),
            state=EntryState.SETTLED if error is None else EntryState.REJECTED,
            tool=order.tool.name,
            args=order.passed,
            policy=order.ruling.revision,
            labels=order.judged.labels,
            result=result,
            error=error,
        )
        await self._journal.propose(Proposing(entry, question))


def question(order: Order) -> Question:
    """What a person is asked, while the run goes on."""
    tool, args = order.tool, order.args
    why = "; ".join((order.aside, *order.judged.faults))
    return Question(
        step=order.step,
        number=order.number,
        kind=ReviewKind.PROPOSAL,
        text=f"May {tool.name} be called with exactly this? Proposed because {why}"[:_TOLD_CHARS],
        proposal=args.__pydantic_serializer__.to_json(args, round_trip=True),
        answer_schema=editable(tool),
        args_hash=order.digest,
        decide_within=DECIDE_WITHIN,
        approves=exactly(tool, args),
        tool=tool.name,
    )


def _told(reason: StopReason, message: str) -> bytes:
    return orjson.dumps({"reason": reason, "message": message})
