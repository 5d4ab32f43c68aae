"""A flow: the verbs in which a pipeline speaks. Each names a step, done once and recorded."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

from pydantic import BaseModel
from pydantic_core import to_json

from models.ledger import EntryState, StepKind
from models.review import ReviewKind
from models.run import WaitingFor
from tools.tool import Tool
from worker.checkpoint import Entry
from worker.decision import Answer, Decision
from worker.departure import Partial
from worker.gateway import Gateway
from worker.held import Held
from worker.journal import Journal
from worker.outcome import Ask, GateShut, LostLease, Outcome, Question, Snooze, Stop
from worker.provenance import INPUT, Origin
from worker.rollback import UNDO, Undone, rollback

A = TypeVar("A", bound=BaseModel)
R = TypeVar("R", bound=BaseModel)
T = TypeVar("T", bound=Answer)
M = TypeVar("M", bound=BaseModel)
X = TypeVar("X")
Y = TypeVar("Y")

STEP_BYTES = 200
_PRECEDENCE: tuple[type[Outcome], ...] = (LostLease, Stop, GateShut, Ask, Snooze)
"""Of several outcomes of steps side by side, the first of these decides for the run."""


class Flow:
    """What a pipeline holds of its run. Steps are named; names are checkpoints."""

    def __init__(
        self, held: Held, gateway: Gateway, journal: Journal, tools: Mapping[str, Tool[Any, Any]]
    ) -> None:
        self._held = held
        self._gateway = gateway
        self._journal = journal
        self._tools = tools

    async def call(self, step: str, tool: Tool[A, R], /, **arguments: Any) -> R:
        """Use a tool, once. Its final failure raises ToolFailed, which may be caught."""
        number = self._begin(step)
        return await self._gateway.call(
            self._held, tool, arguments, step=step, number=number, allowed=self._tools
        )

    async def decide(self, step: str, decision: Decision[T], /, **inputs: Any) -> T:
        """Answer a typed question by rules or model; the answer is recorded with what was asked."""
        number = self._begin(step)
        asked = to_json({"decision": decision.name, "inputs": inputs})
        digest = hashlib.sha256(asked).digest()
        record = self._held.record.get(step)
        if record is not None and (result := record.replay(digest)) is not None:
            self._decided(step, decision, result)
            return decision.answer.model_validate_json(result)
        self._held.begin(fresh=True)
        answer = await decision.decide(**inputs)
        written = answer.__pydantic_serializer__.to_json(answer)
        await self._journal.record(
            Entry(
                run_id=self._held.id,
                attempt=self._held.attempt,
                step=step,
                number=number,
                kind=StepKind.DECIDE,
                args_hash=digest,
                token=uuid4(),
                state=EntryState.SETTLED,
                tool=decision.name,
                args=asked,
                result=written,
                policy=self._gateway.rulebook.revision,
            )
        )
        self._decided(step, decision, written)
        return decision.answer.model_validate_json(written)

    async def ask(
        self, step: str, *, about: M, reason: str, within: timedelta = timedelta(days=7)
    ) -> M:
        """Ask a person to approve or edit `about`; the run waits without holding anything.

        Rejected or unanswered in time, it raises ToolFailed (review_rejected, review_expired).
        """
        number = self._begin(step)
        proposal = about.__pydantic_serializer__.to_json(about)
        digest = hashlib.sha256(b"ask\0" + proposal).digest()
        record = self._held.record.get(step)
        if record is not None and (result := record.replay(digest)) is not None:
            self._held.repetition.answered()
            answer = type(about).model_validate_json(result)
            self._held.provenance.origins[step] = Origin(answer, type(about), person=True)
            return answer
        self._held.begin(fresh=record is None)
        raise Ask(
            [
                Question(
                    step=step,
                    number=number,
                    kind=ReviewKind.UNCERTAIN,
                    text=reason,
                    proposal=proposal,
                    answer_schema=type(about).model_json_schema(),
                    args_hash=digest,
                    decide_within=within,
                    fresh=record is None,
                )
            ]
        )

    async def roll_back(self, *, to: str) -> None:
        """Take back every write after step `to`, the last one first, each as a step of its own.

        An undo passes the gate like any write, but not the run's own ceilings. What was undone
        keeps its name and its result; its name cannot be used again.

        Raises:
            ToolFailed: One of them cannot be undone (then none was), or its undo failed.
        """
        undoing = rollback(await self._journal.load(self._held.id), self._tools, to=to)
        with self._held.without_ceilings():
            for each in undoing:
                if each.step in self._held.names:
                    continue  # an earlier roll-back's
                number = self._begin(each.step, prefix="")
                await self._gateway.call(
                    self._held,
                    each.tool,
                    each.arguments,
                    step=each.step,
                    number=number,
                    allowed={each.tool.name: each.tool},
                )
                await self._journal.undo(Undone(self._held.id, self._held.attempt, each.of))

    async def partial(self, value: BaseModel) -> None:
        """Keep the best result so far; whatever stops the run later, the client gets it."""
        written = value.__pydantic_serializer__.to_json(value)
        self._held.partial = written
        await self._journal.keep(Partial(self._held.id, self._held.attempt, written))

    async def all(self, *steps: Awaitable[Any]) -> list[Any]:
        """Do steps side by side; their results in the order they were given.

        An outcome waits until its siblings have settled, so that nothing is left half done:
        LostLease goes before Stop, Ask and Snooze; the questions of several are asked at once.
        """
        fork = self._held.repetition.fork(steps)
        results = await asyncio.gather(*fork.tasks, return_exceptions=True)
        outcomes = [each for each in results if isinstance(each, Outcome)]
        for kind in _PRECEDENCE:
            same = [each for each in outcomes if isinstance(each, kind)]
            if same and kind is Ask:
                raise Ask([q for each in same if isinstance(each, Ask) for q in each.questions])
            if same:
                raise same[0]
        fork.join()
        for each in results:
            if isinstance(each, BaseException):
                raise each
        return results

    async def each(
        self,
        name: str,
        items: Iterable[X],
        do: Callable[[str, X], Awaitable[Y]],
        *,
        key: Callable[[X], str],
    ) -> list[Y]:
        """Do the same with every item, side by side; `do` gets a step name made of the key."""
        return await self.all(*(do(f"{name}/{key(item)}", item) for item in items))

    def _decided(self, step: str, decision: Decision[Any], written: bytes) -> None:
        origin = Origin(written, decision.answer, bits=decision.bits)
        self._held.provenance.origins[step] = origin

    def _begin(self, step: str, *, prefix: str = UNDO) -> int:
        if self._held.lost:
            raise LostLease
        self._gateway.gatekeeper.pass_by(self._held)
        if self._held.leaving:
            raise Snooze(timedelta(0), WaitingFor.WORKER, "its worker is shutting down")
        if not step or len(step.encode()) > STEP_BYTES + (0 if prefix else len(UNDO)):
            raise ValueError(f"a step needs a name of 1 to {STEP_BYTES} bytes, not {step!r}")
        if prefix and step.startswith(prefix):
            raise ValueError(f"a step may not be named {prefix}...: so are those of a roll-back")
        if step == INPUT:
            raise ValueError("a step may not be named 'input': references mean the run's input")
        if step in self._held.names:
            raise ValueError(f"two steps are named {step!r}: a name is a checkpoint, used once")
        self._held.names.add(step)
        return len(self._held.names)
