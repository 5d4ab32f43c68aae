"""The loop of `flow.act`: a model says what it would do next, and the gateway judges it.

Each of its sayings is a step, recorded before anything is done about it; each call is another, with
all the gates of any call and some more (worker/gateway.py, `proposed`). What the model is told of a
refusal is a complaint. A tool that it was not offered ends the run: nobody who read no foreign text
asks for one.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from models.guard import Guard
from models.run import StopReason
from tools.tool import Effect
from worker.agents.agent import Agent, Offer, Said, Wanted, worded
from worker.agents.complaint import Advice, Complaint, of_contract, of_failure
from worker.agents.extract import Extract
from worker.agents.trail import was_looked
from worker.agents.voice import Form, Voice
from worker.agents.window import Window
from worker.outcome import Stop, ToolFailed
from worker.proposing import id_of
from worker.refusal import Refusal
from worker.steps import Steps

T = TypeVar("T", bound=BaseModel)
S = TypeVar("S", bound=BaseModel)
REFUSED = frozenset({
    StopReason.REVIEW_REJECTED, StopReason.REVIEW_EXPIRED, StopReason.PROPOSED,
})  # fmt: skip
_TURN = Form(Said, worded)

Then = Callable[[str, BaseModel], Awaitable[None]]
"""What a pipeline does with each result: the step, `work/3/page.read`, and what it gave."""
Decide = Callable[..., Awaitable[BaseModel]]
"""`flow.decide`: a question in a context of its own."""


async def nobody(*_: Any, **__: Any) -> BaseModel:
    """Where no looks are offered, nobody is asked for one."""
    raise RuntimeError("a look into what was withheld is a decision of the flow's")


class Act(Generic[T]):
    """One agent at work in one run; the same on every replay."""

    def __init__(
        self, name: str, agent: Agent[T], goal: str, offers: Sequence[Offer | Extract],
        steps: Steps, *, decide: Decide = nobody, form: Form[Any] = _TURN, then: Then | None = None,
    ) -> None:  # fmt: skip
        self._name = name
        self._agent = agent
        self._offers = {each.name: each for each in offers}
        if len(self._offers) < len(offers):
            raise ValueError(f"{name} offers a tool twice: which of the two bindings is meant?")
        self._steps = steps
        self._then = then
        self._decide = decide
        self._voice = Voice(agent.name, agent.model, steps)
        shown = [each.shown() for each in offers]
        self._window = Window(name, agent, goal, tools=shown, form=form, voice=self._voice)
        self._mistakes = 0
        self._refused: dict[bytes, StopReason] = {}
        """Calls that a person did not allow, or is to decide. Nobody is asked a second time."""

    async def run(self) -> T:
        """The agent's answer.

        Raises:
            Stop: `step_budget` after its last turn, `tool_denied` for a tool that it was not
                offered, `model_output_invalid` for one mistake too many; or as any call does.
        """
        for turn in range(1, self._agent.turns + 1):
            step = f"{self._name}/{turn}"
            said = await self._ask(step, turn, self._agent.turns - turn + 1, _TURN)
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

    async def _ask(self, step: str, turn: int, left: int, form: Form[S]) -> S | list[Complaint]:
        view = await self._window.view(left, step)
        return await self._voice.says(step, view, form, self._window.put, turn)

    async def _do(self, step: str, wanted: Wanted) -> None:
        offer = await self._offered(step, wanted.tool)
        called = {"tool": wanted.tool, "arguments": wanted.arguments}
        objection = self._objection(offer, called, step=step)
        objection = objection or await self._estranged(step, offer, called)
        if objection is not None:
            self._mistaken(called, [objection])
            return
        place = f"{step}/{wanted.tool}"
        try:
            result = await self._made(offer, wanted, place)
        except ToolFailed as failure:
            self._window.told(called, [self._survived(failure, called, place)])
        except Stop as stop:
            fault = stop.__cause__
            if stop.guard is not Guard.CONTRACT or not isinstance(fault, ValidationError):
                raise
            self._mistaken(called, of_contract(fault, offer.takes, "/call/arguments"))
            return
        else:
            self._window.came(called, result, place)
            if self._then is not None:
                await self._then(place, result)
        self._mistakes = 0

    async def _made(self, offer: Offer | Extract, wanted: Wanted, place: str) -> BaseModel:
        """What comes of a call, by the gateway; or of a look into what was withheld.

        What is destructive is put to a person, and the model goes on without it.
        """
        if isinstance(offer, Offer):
            given = offer.given(wanted.arguments, place)
            if offer.tool.effect is not Effect.DESTRUCTIVE:
                return await self._steps.call(place, offer.tool, given, proposed=True)
            told = "a model wants it"
            await self._steps.propose(place, offer.tool, given, because=told, proposed=True)
            raise ToolFailed(f"{wanted.tool} is proposed", StopReason.PROPOSED)
        text = offer.text(self._steps.held.provenance, wanted.arguments["place"])
        return await self._decide(place, offer.decision, text=text)

    async def _offered(self, step: str, name: str) -> Offer | Extract:
        offer = self._offers.get(name)
        if offer is None:
            told = f"the model wants {name[:80]!r}, which it was not offered"
            said = Refusal(Guard.ALLOWLIST, StopReason.TOOL_DENIED, told)
            await self._steps.refused(step, name, said)
            raise Stop(StopReason.TOOL_DENIED, told)
        return offer

    def _objection(
        self, offer: Offer | Extract, called: dict[str, Any], at: str = "/call", step: str = ""
    ) -> Complaint | None:
        """Why a call is not tried: it says what is bound, a person has not allowed it before, or
        it would look into what was never withheld."""
        if isinstance(offer, Extract):
            held, look = self._steps.held, f"{step}/{offer.name}"
            went = was_looked(held.record, look, step, self._name)
            if went:
                return None
            seen = self._window.places if went is None else []
            return offer.objection(called["arguments"], seen, held.provenance, at)
        meant = offer.closed.keys() & called["arguments"].keys()
        if meant:
            place = f"{at}/arguments/{min(meant)}"
            return Complaint("bound", Advice.RETRY, place, offer.open_names)
        refused = self._refused.get(same(called))
        return None if refused is None else Complaint(str(refused), Advice.STOP)

    async def _estranged(
        self, step: str, offer: Offer | Extract, called: dict[str, Any], at: str = "/call"
    ) -> Complaint | None:
        """Why a call is not tried: it means something that was not found, and nothing else will do.

        The audit hears of it, for it is what a text from outside would have a model do.
        """
        if isinstance(offer, Extract):
            return None
        name = offer.strange(called["arguments"], self._steps.held.provenance)
        if name is None:
            return None
        told = f"/{name} is none of those among which a model may choose"
        said = Refusal(Guard.LABELS, StopReason.TOOL_DENIED, told)
        await self._steps.refused(step, offer.tool.name, said)
        return Complaint("not_found", Advice.RETRY, f"{at}/arguments/{name}")

    def _survived(self, failure: ToolFailed, called: dict[str, Any], step: str) -> Complaint:
        """What the model is told of a failure that it may survive; any other is raised."""
        proposed = failure.reason is StopReason.PROPOSED
        if failure.reason not in self._agent.survives and not proposed:
            raise failure
        if failure.reason in REFUSED:
            self._refused[same(called)] = failure.reason
        id_ = str(id_of(self._steps.held.id, step)) if proposed else ""
        return replace(of_failure(failure), id=id_)

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
        self._window.told(called, complaints)


def same(called: dict[str, Any]) -> bytes:
    """In whatever order its arguments were said; any that a model can say, huge numbers too."""
    return to_json([called["tool"], sorted(called["arguments"].items())])
