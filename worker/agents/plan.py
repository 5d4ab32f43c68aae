"""The rounds of `flow.plan`: a model says a list of calls, and all of it is judged before any.

Each saying is a step, and so is what was found wrong with it (`NAME/1/check`), so that a resumed
run carries out what was found right then. What a person must allow is asked before the first call,
all at once. Then the calls are made in their order, each a step with all gates of any call
(`NAME/1/2/TOOL`), and what came of them is what the model sees next.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json

from models.guard import Guard
from models.ledger import EntryState, StepKind
from models.run import StopReason
from worker.agents import planned
from worker.agents.act import Act
from worker.agents.agent import Agent, Offer
from worker.agents.complaint import Advice, Complaint, of_contract
from worker.agents.planned import Planned, PlannedCall
from worker.agents.voice import Form
from worker.agents.withheld import Result
from worker.examination import Draft, questions
from worker.order import Order
from worker.outcome import Ask, Stop, ToolFailed
from worker.refusal import refused_by
from worker.steps import Question, Steps

T = TypeVar("T", bound=BaseModel)
_CEILINGS = frozenset({
    StopReason.STEP_BUDGET, StopReason.TOOL_BUDGET, StopReason.COST_BUDGET, StopReason.TOKEN_BUDGET,
})  # fmt: skip
_CIRCLES = frozenset({StopReason.LOOP_DETECTED, StopReason.NO_PROGRESS})
_PLAN = Form(Planned, lambda view: planned.worded(view, view.turns_left - 1))
_TOLD = 10
"""Complaints about one plan."""


class Plan(Act[T]):
    """One agent that plans in one run; the same on every replay."""

    def __init__(
        self, name: str, planner: Agent[T], goal: str, offers: Sequence[Offer], steps: Steps,
        *, rounds: int, then: Callable[[str, BaseModel], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(name, planner, goal, offers, steps, form=_PLAN, then=then)
        if rounds < 1:
            raise ValueError(f"{name} plans in one round at least, not in {rounds}")
        self._left = rounds
        """Plans that may still be carried out."""

    async def run(self) -> T:
        """The agent's answer.

        Raises:
            Stop: `step_budget` for a plan after the last round, `tool_denied` for a tool that it
                was not offered, `model_output_invalid` for one mistake too many, a budget that not
                even the first call of a plan fits; or as any call does.
            Ask: A person must allow calls of a plan first.
        """
        for turn in count(1):
            step = f"{self._name}/{turn}"
            said = await self._ask(step, turn, self._left + 1, _PLAN)
            if isinstance(said, list):
                self._mistaken({}, said)
            elif said.plan:
                await self._follow(step, said.plan)
            elif (answer := self._answered(said.answer)) is not None:
                return answer
        raise AssertionError("rounds and mistakes are bounded")

    async def _follow(self, step: str, calls: list[PlannedCall]) -> None:
        if not self._left:
            raise Stop(StopReason.STEP_BUDGET, f"{self._agent.name} plans on, and never answers")
        found = [await self._offered(step, each.tool) for each in calls]
        offers = [each for each in found if isinstance(each, Offer)]  # no others are taken
        called = [{"tool": each.tool, "arguments": each.arguments} for each in calls]
        places = [f"{step}/{number}/{each.tool}" for number, each in enumerate(calls, 1)]
        drafts = [
            Draft(place, offer.tool, offer.given(each.arguments, place))
            for place, offer, each in zip(places, offers, calls, strict=True)
        ]
        complaints = await self._checked(step, offers, called, drafts)
        if complaints:
            self._mistaken({"plan": called}, complaints)
            return
        await self._ask_first(drafts)
        self._left -= 1
        self._mistakes = 0
        await self._carry_out(drafts, called)

    async def _checked(
        self, step: str, offers: Sequence[Offer], called: list[dict[str, Any]],
        drafts: Sequence[Draft],
    ) -> list[Complaint]:  # fmt: skip
        """What is wrong with a plan, as it was found when it was said first."""

        async def check() -> tuple[bytes, int]:
            found: list[Complaint] = []
            for n, (offer, draft) in enumerate(zip(offers, drafts, strict=True)):
                at, call = f"/plan/{n}", called[n]
                wrong = self._objection(offer, call, at)
                wrong = wrong or await self._estranged(draft.step, offer, call, at)
                if wrong is not None:
                    found.append(replace(wrong, pointer=wrong.pointer or at))
            found = found or await self._examined(drafts)
            return to_json([each.document() for each in found[:_TOLD]]), 0

        # A model may say numbers that JSON does not tell; what it said stands in its own record.
        asked = to_json({"agent": self._agent.name, "plan": called}, inf_nan_mode="null")
        question = Question(self._agent.name, asked, hashlib.sha256(b"check\0" + asked).digest())
        written = await self._steps.once(f"{step}/check", question, check)
        return [Complaint(**each) for each in from_json(written)]

    async def _examined(self, drafts: Sequence[Draft]) -> list[Complaint]:
        complaints: list[Complaint] = []
        for n, found in enumerate(await self._steps.examine(drafts)):
            if isinstance(found, Order):
                continue
            said = refused_by(found)
            if said is not None:
                await self._steps.refused(drafts[n].step, drafts[n].tool.name, said)
            complaints += _of_stop(found, drafts[n], n)
            if found.reason in _CEILINGS:
                break  # it is the whole that is too much
        return complaints

    async def _ask_first(self, drafts: Sequence[Draft]) -> None:
        """Ask a person about all calls of a plan that need one, before the first is made."""
        record = self._steps.held.record
        if any(each.step in record for each in drafts):
            return  # asked, or under way
        orders = []
        for found in await self._steps.examine(drafts):
            if isinstance(found, Stop):  # what was found right is not any more
                raise found
            orders.append(found)
        asked = questions(orders)
        for each in asked:
            if (said := refused_by(Ask([each]))) is not None:
                await self._steps.refused(each.step, each.tool or "", said)
        if asked:
            raise Ask(asked)

    async def _carry_out(self, drafts: Sequence[Draft], called: Sequence[dict[str, Any]]) -> None:
        """Make the calls until one fails. Where a person has said no to some of them before any
        was made, none is."""
        came: dict[int, tuple[dict[str, Any], Result | None]] = {}
        denied = self._denied(drafts)
        for n in denied or range(len(drafts)):
            step, tool, given = drafts[n]
            try:
                result = await self._steps.call(step, tool, given, proposed=True)
            except ToolFailed as failure:
                said = self._survived(failure, called[n], step)
                came[n] = {"complaints": [said.document()]}, None
                if not denied:
                    break
            else:
                came[n] = {}, Result(result, step)
                if self._then is not None:
                    await self._then(step, result)
        # What a person was asked about and is not made stands in the record, and was come by.
        self._steps.held.names.update(each.step for each in drafts)
        parts = [(each, *came.get(n, ({"made": False}, None))) for n, each in enumerate(called)]
        self._window.planned([(each | more, got) for each, more, got in parts])

    def _denied(self, drafts: Sequence[Draft]) -> list[int]:
        """The calls that a person did not allow, where none of the plan was tried yet, nor put
        aside after all."""
        records = [self._steps.held.record.get(each.step) for each in drafts]
        begun = [e for e in records if e is not None and (e.tries or e.kind == StepKind.PROPOSE)]
        if begun:
            return []
        return [
            n for n, each in enumerate(records)
            if each is not None and each.state is EntryState.REJECTED
        ]  # fmt: skip


def _of_stop(stop: Stop, draft: Draft, n: int) -> list[Complaint]:
    """What a model is told of a call that a gate would not let pass.

    Raises:
        Stop: No other plan would help.
    """
    at, fault = f"/plan/{n}", stop.__cause__
    if stop.guard is Guard.CONTRACT:
        if isinstance(fault, ValidationError):
            return of_contract(fault, draft.tool.takes, f"{at}/arguments")
        return [Complaint("invalid", Advice.RETRY, f"{at}/arguments")]
    if stop.reason is StopReason.TOOL_DENIED:
        return [Complaint("tool_denied", Advice.STOP, f"{at}/tool")]
    if stop.reason in _CEILINGS and n:
        return [Complaint(str(stop.reason), Advice.RETRY, at, {"maxItems": n})]
    if stop.reason in _CIRCLES:
        return [Complaint(str(stop.reason), Advice.RETRY, at)]
    raise stop
