"""The loop of `flow.act`: a model says what it would do next, and the gateway judges it.

Each of its sayings is a step, recorded before anything is done about it; each call is another, with
all the gates of any call and some more (worker/gateway.py, `proposed`). What the model is told of a
refusal is a complaint. A tool that it was not offered ends the run: nobody who read no foreign text
asks for one.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json

from models.guard import Guard
from models.run import StopReason
from tools.llm import Finish
from worker.agents.agent import SAID_BYTES, Agent, Model, Offer, Said, View, Wanted, worded
from worker.agents.complaint import Advice, Complaint, of_contract, of_failure
from worker.labels.declared import schema_of
from worker.outcome import Stop, ToolFailed
from worker.refusal import Refusal
from worker.steps import Question, Steps
from worker.wording import LanguageModel, Talk

T = TypeVar("T", bound=BaseModel)
S = TypeVar("S", bound=BaseModel)
REFUSED = frozenset({StopReason.REVIEW_REJECTED, StopReason.REVIEW_EXPIRED})
_TOO_LARGE = Complaint("too_large", Advice.RETRY, allowed={"maxBytes": SAID_BYTES})


Then = Callable[[str, BaseModel], Awaitable[None]]
"""What a pipeline does with each result: the step, `work/3/page.read`, and what it gave."""


class Act(Generic[T]):
    """One agent at work in one run; the same on every replay."""

    def __init__(
        self, name: str, agent: Agent[T], goal: str, offers: Sequence[Offer], steps: Steps,
        *, then: Then | None = None,
    ) -> None:  # fmt: skip
        self._name = name
        self._agent = agent
        self._goal = goal
        self._offers = {each.tool.name: each for each in offers}
        if len(self._offers) < len(offers):
            raise ValueError(f"{name} offers a tool twice: which of the two bindings is meant?")
        self._steps = steps
        self._then = then
        self._history: list[dict[str, Any]] = []
        self._mistakes = 0
        self._refused: dict[bytes, StopReason] = {}
        """Calls that a person did not allow, each with how. Nobody is asked a second time."""

    async def run(self) -> T:
        """The agent's answer.

        Raises:
            Stop: `step_budget` after its last turn, `tool_denied` for a tool that it was not
                offered, `model_output_invalid` for one mistake too many; or as any call does.
        """
        for turn in range(1, self._agent.turns + 1):
            step = f"{self._name}/{turn}"
            said = await self._ask(step, turn, Said)
            if isinstance(said, list):
                self._mistaken({}, said)
            elif said.call is not None:
                await self._do(step, said.call)
            else:
                answer = self._answered(said.answer)
                if answer is not None:
                    return answer
        told = f"{self._agent.name} came to no answer in {self._agent.turns} turns"
        raise Stop(StopReason.STEP_BUDGET, told)

    async def _ask(self, step: str, turn: int, kind: type[S]) -> S | list[Complaint]:
        name, model = self._agent.name, self._agent.model
        put = {"agent": name, "goal": self._goal, "history": self._history}
        if isinstance(model, LanguageModel):
            talk = Talk(*self._worded(self._view(turn)), schema_of(kind))
            said = await self._steps.call(step, model.tool, talk.arguments(name, put, turn))
            if said.finish is not Finish.STOP:
                return [Complaint(said.finish, Advice.RETRY)]
            text = said.text
        else:
            digest = hashlib.sha256(to_json(put)).digest()
            question = Question(name, to_json({"agent": name, "turn": turn}), digest)
            written = await self._steps.once(step, question, lambda: self._reply(model, turn))
            text = from_json(written)
        if len(text) > SAID_BYTES:
            return [_TOO_LARGE]
        try:
            return kind.model_validate(from_json(text))
        except ValidationError as error:
            return of_contract(error, kind)
        except ValueError:
            return [Complaint("no_json", Advice.RETRY, allowed=schema_of(kind))]

    def _worded(self, view: View) -> tuple[str, list[dict[str, Any]]]:
        return worded(view)

    def _view(self, turn: int) -> View:
        return View(
            instructions=self._agent.instructions,
            goal=self._goal,
            tools=[each.shown() for each in self._offers.values()],
            answer=schema_of(self._agent.answer),
            history=list(self._history),
            turns_left=self._agent.turns - turn + 1,
        )

    async def _reply(self, model: Model, turn: int) -> tuple[bytes, int]:
        """What the model says now, as the ledger can keep it."""
        reply = await model(self._view(turn))
        said = reply.text
        text = said if isinstance(said, str) else said.decode(errors="replace")
        return to_json(text[: SAID_BYTES + 1].encode(errors="replace").decode()), reply.tokens

    async def _do(self, step: str, wanted: Wanted) -> None:
        offer = await self._offered(step, wanted.tool)
        called = {"tool": wanted.tool, "arguments": wanted.arguments}
        objection = self._objection(offer, called) or await self._estranged(step, offer, called)
        if objection is not None:
            self._mistaken(called, [objection])
            return
        try:
            place = f"{step}/{wanted.tool}"
            given = offer.given(wanted.arguments, place)
            result = await self._steps.call(place, offer.tool, given, proposed=True)
        except ToolFailed as failure:
            self._history.append(called | {"complaints": [self._survived(failure, called)]})
        except Stop as stop:
            fault = stop.__cause__
            if stop.guard is not Guard.CONTRACT or not isinstance(fault, ValidationError):
                raise
            self._mistaken(called, of_contract(fault, offer.tool.takes, "/call/arguments"))
            return
        else:
            self._history.append(called | {"result": result.model_dump(mode="json")})
            if self._then is not None:
                await self._then(place, result)
        self._mistakes = 0

    async def _offered(self, step: str, name: str) -> Offer:
        offer = self._offers.get(name)
        if offer is None:
            told = f"the model wants {name[:80]!r}, which it was not offered"
            said = Refusal(Guard.ALLOWLIST, StopReason.TOOL_DENIED, told)
            await self._steps.refused(step, name, said)
            raise Stop(StopReason.TOOL_DENIED, told)
        return offer

    def _objection(
        self, offer: Offer, called: dict[str, Any], at: str = "/call"
    ) -> Complaint | None:
        """Why a call is not tried: it says what is bound, or a person has not allowed it before."""
        meant = offer.closed.keys() & called["arguments"].keys()
        if meant:
            place = f"{at}/arguments/{min(meant)}"
            return Complaint("bound", Advice.RETRY, place, offer.open_names)
        refused = self._refused.get(same(called))
        return None if refused is None else Complaint(str(refused), Advice.STOP)

    async def _estranged(
        self, step: str, offer: Offer, called: dict[str, Any], at: str = "/call"
    ) -> Complaint | None:
        """Why a call is not tried: it means something that was not found, and nothing else will do.

        The audit hears of it, for it is what a text from outside would have a model do.
        """
        name = offer.strange(called["arguments"], self._steps.held.provenance)
        if name is None:
            return None
        told = f"/{name} is none of those among which a model may choose"
        said = Refusal(Guard.LABELS, StopReason.TOOL_DENIED, told)
        await self._steps.refused(step, offer.tool.name, said)
        return Complaint("not_found", Advice.RETRY, f"{at}/arguments/{name}")

    def _survived(self, failure: ToolFailed, called: dict[str, Any]) -> dict[str, Any]:
        """What the model is told of a failure that it may survive; any other is raised."""
        if failure.reason not in self._agent.survives:
            raise failure
        if failure.reason in REFUSED:
            self._refused[same(called)] = failure.reason
        return of_failure(failure).document()

    def _answered(self, answer: dict[str, Any] | None) -> T | None:
        try:
            return self._agent.answer.model_validate_json(to_json(answer))
        except ValidationError as error:
            self._mistaken({}, of_contract(error, self._agent.answer, "/answer"))
        return None

    def _mistaken(self, called: dict[str, Any], complaints: list[Complaint]) -> None:
        """Tell the model what was wrong, a bounded number of times."""
        self._mistakes += 1
        if self._mistakes > self._agent.mistakes:
            places = ", ".join(f"{each.pointer or '/'} {each.code}" for each in complaints)
            told = f"{self._agent.name} was told {self._agent.mistakes} times, and said: {places}"
            raise Stop(StopReason.MODEL_OUTPUT_INVALID, told)
        self._history.append(called | {"complaints": [each.document() for each in complaints]})


def same(called: dict[str, Any]) -> bytes:
    """In whatever order its arguments were said; any that a model can say, huge numbers too."""
    return to_json([called["tool"], sorted(called["arguments"].items())])
