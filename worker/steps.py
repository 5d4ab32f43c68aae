"""Steps: how a run comes to the next named thing it does, and how that is done once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

from pydantic import BaseModel

from models.ledger import SNAPSHOT, UNDO, EntryState, StepKind
from models.run import WaitingFor
from tools.tool import Snapshot, Tool
from worker.checkpoint import Entry
from worker.examination import Draft, examine
from worker.gateway import Gateway
from worker.held import Held
from worker.journal import Journal
from worker.labels.provenance import INPUT
from worker.mismatch import Asked
from worker.order import Order, Proposed
from worker.outcome import LostLease, Snooze, Stop
from worker.refusal import Refusal
from worker.snapshot import Precaution
from worker.warrant import Mandate, Warrant

A = TypeVar("A", bound=BaseModel)
R = TypeVar("R", bound=BaseModel)

STEP_BYTES = 200


class Question(NamedTuple):
    """What a step without effects asks of a decision, a model or memory."""

    of: str
    asked: bytes
    digest: bytes
    """Of all that it was asked: a replay must ask the same."""
    kind: StepKind = StepKind.DECIDE

    @property
    def told(self) -> Asked:
        return Asked(self.kind, self.of, self.asked)


class Steps:
    """The steps of one held run."""

    def __init__(
        self, held: Held, gateway: Gateway, journal: Journal, tools: Mapping[str, Tool[Any, Any]]
    ) -> None:
        self.held = held
        self.journal = journal
        self.tools = tools
        self._gateway = gateway
        self.gatekeeper = gateway.gatekeeper

    @property
    def policy(self) -> str:
        """The revision in force."""
        return self._gateway.rulebook.revision

    def begin(self, step: str, *, prefix: str = UNDO) -> int:
        """Take a name, and its number.

        Raises:
            LostLease, GateShut, Snooze: The run is to leave this worker, or the fleet is closed.
            ValueError: The name is none, or was taken.
        """
        held = self.held
        if held.lost:
            raise LostLease
        self._gateway.gatekeeper.pass_by(held)
        if held.leaving:
            raise Snooze(timedelta(0), WaitingFor.WORKER, "its worker is shutting down")
        if not step or len(step.encode()) > STEP_BYTES + (0 if prefix else len(UNDO)):
            raise ValueError(f"a step needs a name of 1 to {STEP_BYTES} bytes, not {step!r}")
        if prefix and step.startswith(prefix):
            raise ValueError(f"a step may not be named {prefix}...: so are those of a roll-back")
        if step == INPUT:
            raise ValueError("a step may not be named 'input': references mean the run's input")
        if step in held.names:
            raise ValueError(f"two steps are named {step!r}: a name is a checkpoint, used once")
        held.names.add(step)
        return len(held.names)

    async def call(
        self,
        step: str,
        tool: Tool[A, R],
        arguments: Mapping[str, Any],
        *,
        undoes: bool = False,
        proposed: bool = False,
        because: str = "",
        mandate: Mandate | None = None,
    ) -> R:
        """Use a tool, as a step; see `Gateway.call`."""
        before = None
        if tool.undo is not None and tool.undo.snapshot is not None and not undoes:
            before = self._precaution(step + SNAPSHOT, tool.undo.snapshot)
        number = self.begin(step, prefix="" if undoes else UNDO)
        return await self._gateway.call(
            self.held,
            tool,
            arguments,
            step=step,
            number=number,
            allowed={tool.name: tool} if undoes or mandate else self.tools,
            proposed=proposed,
            because=because,
            mandate=mandate,
            before=before,
        )

    async def examine(self, drafts: Sequence[Draft]) -> list[Order | Stop]:
        """What the gates would say of calls, none of which is made; see worker/examination.py."""
        return await examine(self._gateway, self.held, drafts, self.tools)

    def _precaution(self, step: str, snapshot: Snapshot[Any]) -> Precaution:
        """It takes its name and number whether it is made or not: a replay counts the same."""
        number = self.begin(step)
        self.held.precautions.add(step)

        async def make(given: Mapping[str, Any], under: Warrant | None) -> Any:
            tool, held = snapshot.tool, self.held
            return await self._gateway.call(
                held, tool, given, step=step, number=number, allowed=self.tools, under=under
            )

        return Precaution(snapshot, self.held.record.get(step), make)

    async def propose(
        self, step: str, tool: Tool[Any, Any], arguments: Mapping[str, Any], *, because: str,
        proposed: bool = False,
    ) -> Proposed:  # fmt: skip
        """Put a call to a person, as a step; see `Flow.propose`."""
        if not tool.writes:
            raise ValueError(f"{tool.name} changes nothing: call it, there is nothing to propose")
        told: Any = await self.call(
            step, tool, arguments, proposed=proposed, because=because or "its pipeline proposes it"
        )
        return Proposed.model_validate(told)

    async def once(
        self, step: str, question: Question, answer: Callable[[], Awaitable[tuple[bytes, int]]]
    ) -> bytes:
        """A step without effects: its record, or what it comes to now (JSON, and tokens used)."""
        held, number = self.held, self.begin(step)
        record = held.record.get(step)
        asked = question.told if record is not None else None
        if record is not None and (result := record.replay(question.digest, asked)) is not None:
            return result
        held.begin(fresh=True)
        written, tokens = await answer()
        held.usage.tokens += tokens
        await self.journal.record(
            Entry(
                run_id=held.id,
                attempt=held.attempt,
                step=step,
                number=number,
                kind=question.kind,
                args_hash=question.digest,
                token=uuid4(),
                state=EntryState.SETTLED,
                tool=question.of,
                args=question.asked,
                tokens=tokens,
                result=written,
                policy=self.policy,
            )
        )
        return written

    async def refused(self, step: str, tool: str, said: Refusal) -> None:
        """Tell the audit of a call that never came to be one."""
        await asyncio.shield(
            self.journal.note(said.remark(self.held, step, tool, self.policy, b""))
        )
