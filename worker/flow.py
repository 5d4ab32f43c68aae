"""A flow: the verbs in which a pipeline speaks. Each names a step, done once and recorded."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, TypeVar, overload

from pydantic import BaseModel
from pydantic_core import to_json

from models.ledger import SNAPSHOT
from models.memory import Scope
from models.review import ReviewKind
from tools.tool import Tool
from worker.agents.act import Act, Then
from worker.agents.agent import Agent, Offer
from worker.agents.assessment import Assessment, Assessor
from worker.agents.extract import Extract
from worker.agents.plan import Plan
from worker.asking import Asking
from worker.assessing import Assessing
from worker.decision import Answer, Decision
from worker.departure import Partial
from worker.fallback import SHORT, taken
from worker.gateway import Gateway
from worker.held import Held
from worker.inquiry import inquire
from worker.journal import Journal
from worker.labels.binding import fixed
from worker.labels.provenance import Origin
from worker.memory import Filled, Memory
from worker.order import Proposed
from worker.outcome import Ask, GateShut, LostLease, Outcome, Snooze, Stop
from worker.outcome import Question as Wanted
from worker.rollback import Undone, rollback
from worker.steps import Question, Steps
from worker.wording import LanguageModel

A = TypeVar("A", bound=BaseModel)
R = TypeVar("R", bound=BaseModel)
T = TypeVar("T", bound=Answer)
M = TypeVar("M", bound=BaseModel)
X = TypeVar("X")
Y = TypeVar("Y")

_PRECEDENCE: tuple[type[Outcome], ...] = (LostLease, Stop, GateShut, Ask, Snooze)
"""Of several outcomes of steps side by side, the first of these decides for the run."""


class Flow:
    """What a pipeline holds of its run. Steps are named; names are checkpoints."""

    def __init__(
        self, held: Held, gateway: Gateway, journal: Journal, tools: Mapping[str, Tool[Any, Any]]
    ) -> None:
        self._steps = self.steps = Steps(held, gateway, journal, tools)  # public for our own
        self._held, self._journal, self._memory = held, journal, Memory(self._steps)

    @overload
    async def call(
        self, step: str, tool: Tool[A, R], /, *, minor: Literal[True], **arguments: Any
    ) -> R | None: ...
    @overload
    async def call(self, step: str, tool: Tool[A, R], /, **arguments: Any) -> R: ...
    async def call(self, step: str, tool: Tool[A, R], /, **arguments: Any) -> R | None:
        """Use a tool, once. Its final failure raises ToolFailed, which may be caught.

        In short: with `fallback=`, a result of ours takes its place; with `minor=True`, None does.
        A failure that pages (models/route.py) is raised all the same.
        """
        instead = taken(tool, arguments) if arguments.keys() & SHORT else None
        call = self._steps.call(step, tool, arguments)
        return await (call if instead is None else instead.of(call, step, tool, self._held))

    def snapshot(self, step: str, kind: type[M], /) -> M:
        """What was kept before the write of `step`, which has been made.

        Raises:
            LookupError: That step has no snapshot, or the run has not come to it.
        """
        origin = self._held.provenance.origins.get(step + SNAPSHOT)
        if origin is None or isinstance(origin.written, BaseModel):
            raise LookupError(f"no snapshot was taken before {step!r}")
        return kind.model_validate_json(origin.written)

    async def propose(
        self, step: str, tool: Tool[Any, Any], /, *, because: str = "", **arguments: Any
    ) -> Proposed:
        """Put a call to a person instead of making it, and go on; destructive ones have no other.

        Allowed within a week, a request of its own makes it, once; this run never sees its outcome.
        """
        return await self._steps.propose(step, tool, arguments, because=because)

    async def decide(self, step: str, decision: Decision[T], /, **inputs: Any) -> T:
        """Answer a typed question by rules or model; the answer is recorded with what was asked.

        An answer that is none of the question's type ends the run as `model_output_invalid`.
        """
        asked = to_json({"decision": decision.name, "inputs": inputs}, inf_nan_mode="null")

        async def ask(model: LanguageModel) -> T:
            return await Asking(step, decision, model, inputs, self._steps).run()

        async def answer() -> tuple[bytes, int]:
            return decision.written(await decision.decide(ask, **inputs)), 0

        question = Question(decision.name, asked, hashlib.sha256(asked).digest())
        record = self._held.record.get(step)
        if record is not None and record.over and isinstance(decision.model, LanguageModel):
            Asking(step, decision, decision.model, inputs, self._steps).skip()
        written = await self._steps.once(step, question, answer)
        origin = Origin(written, decision.answer, bits=decision.bits)
        self._held.provenance.origins[step] = origin
        return decision.answer.model_validate_json(written)

    async def act(
        self, name: str, agent: Agent[M], /, *, goal: str, offers: Sequence[Offer | Extract],
        then: Then | None = None,
    ) -> M:  # fmt: skip
        """Let a model propose one call after the other, until it answers; see worker/agents/act.py.

        The answer is a model's: nothing in it is trusted but what its type bounds. `then` gets
        each result, for `flow.partial` and the like.
        """
        self._steps.begin(name)  # for references may mean it
        act = Act(name, agent, goal, offers, self._steps, decide=self.decide, then=then)
        answer = await act.run()
        self._held.provenance.origins[name] = Origin(answer, agent.answer)
        return answer

    async def plan(
        self, name: str, planner: Agent[M], /, *, goal: str, offers: Sequence[Offer],
        rounds: int = 3, then: Then | None = None,
    ) -> M:  # fmt: skip
        """Let a model propose lists of calls, until it answers; see worker/agents/plan.py.

        A list is judged as a whole before its first call is made. At most `rounds` of them are
        carried out. Answer and `then` are as `act` has them.
        """
        self._steps.begin(name)
        answer = await Plan(
            name, planner, goal, offers, self._steps, rounds=rounds, then=then
        ).run()
        self._held.provenance.origins[name] = Origin(answer, planner.answer)
        return answer

    async def assess(
        self, name: str, assessor: Assessor, /, *, goal: str, about: BaseModel,
        within: timedelta = timedelta(days=7), or_else: str | None = None,
    ) -> Assessment:  # fmt: skip
        """Let a model say what is established, assumed and unknown; see worker/assessing.py.

        A fact is established by a settled step alone. Critical gaps are asked of a person first;
        whoever rejects one, or lets it expire, raises ToolFailed, or `or_else` is assumed.
        """
        made = Assessing(name, assessor, goal, about, self._steps, within=within, or_else=or_else)
        found = await made.run()
        self._held.provenance.origins[name] = Origin(found, Assessment)
        return found

    async def ask(
        self, step: str, *, about: M, reason: str, within: timedelta = timedelta(days=7)
    ) -> M:
        """Ask a person to approve or edit `about`; the run waits without holding anything.

        Rejected or unanswered in time, it raises ToolFailed (review_rejected, review_expired).
        """
        proposal = about.__pydantic_serializer__.to_json(about)
        digest, kind = hashlib.sha256(b"ask\0" + proposal).digest(), ReviewKind.UNCERTAIN
        said = inquire(self._steps, step, kind, about, reason, digest=digest, within=within)
        if isinstance(said, Wanted):
            raise Ask([said])
        return said

    async def roll_back(self, *, to: str) -> None:
        """Take back every write after step `to`, the last one first, each as a step of its own.

        An undo passes the gate like any write, but not the run's own ceilings. What was undone
        keeps its name and its result; its name cannot be used again.

        Raises:
            ToolFailed: One of them cannot be undone (then none was), or its undo failed.
        """
        undoing = rollback(await self._journal.load(self._held.id), self._steps.tools, to=to)
        with self._held.without_ceilings():
            for each in undoing:
                if each.step in self._held.names:
                    continue  # an earlier roll-back's
                ours = {name: fixed(value) for name, value in each.arguments.items()}
                await self._steps.call(each.step, each.tool, ours, undoes=True)
                await self._journal.undo(Undone(self._held.id, self._held.attempt, each.of))

    async def remember(
        self, step: str, *, scope: Scope, key: str, value: BaseModel | Filled, ttl: timedelta
    ) -> None:
        """Keep a value for later runs of this tenant, for as long as `ttl`; the last one counts.

        A model's instance counts as text from outside; `filled(Model, part=ref(...))` keeps labels.
        Like any write it waits for the gate; a roll-back leaves it as it is.

        Raises:
            Stop: Its names or its value are too large, or do not fit.
        """
        await self._memory.remember(step, scope, key, value, ttl)

    async def recall(self, step: str, kind: type[M], /, *, scope: Scope, key: str) -> M | None:
        """What a run of this tenant has remembered; None: nothing that is there still, or fits.

        References into this step have the labels that the value had when it was remembered.
        """
        return await self._memory.recall(step, kind, scope, key)

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
        self, name: str, items: Iterable[X], do: Callable[[str, X], Awaitable[Y]],
        *, key: Callable[[X], str],
    ) -> list[Y]:  # fmt: skip
        """Do the same with every item, side by side; `do` gets a step name made of the key."""
        return await self.all(*(do(f"{name}/{key(item)}", item) for item in items))
