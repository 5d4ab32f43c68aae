"""Pipelines that ask language models; which one answers, and how, the test says."""

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, Field

from models.budget import Budget
from tests.pipelines import Value
from tools.llm import language_model
from tools.tool import Call, Effect, tool
from worker.agents.agent import Agent, offer
from worker.decision import Answer, Decision
from worker.flow import Flow
from worker.pipeline import Catalogue, pipeline
from worker.wording import by_language_model

NAME = "probe"


class Mail(BaseModel, extra="forbid"):
    text: str = "My printer is on fire"
    fallback: bool = True


class Sorted(Answer):
    queue: Literal["it", "billing", "unknown"]
    urgency: int = Field(default=1, ge=1, le=5)


@tool("probe.later", effect=Effect.READ, timeout_s=5)
async def later(args: Value, call: Call) -> Value:
    """What comes after the model."""
    return args


def _urgent(text: str) -> Sorted | None:
    return Sorted(queue="it", confidence=1, because="rule") if "RULE" in text else None


def _never_billing_at_night(answer: Sorted, text: str) -> Sorted | None:
    night = "NIGHT" in text and answer.queue == "billing"
    return answer.model_copy(update={"queue": "unknown"}) if night else None


def _decision(fallback: Sorted | None) -> Decision[Sorted]:
    return Decision(
        name="sort",
        prompt="Say which queue the mail belongs to.",
        answer=Sorted,
        fallback=fallback,
        bar=0.7,
        rules=(_urgent,),
        after=(_never_billing_at_night,),
        model=by_language_model(NAME),
    )


UNSURE = Sorted(queue="unknown", confidence=0, because="nobody knows")
SORT, SORT_OR_STOP = _decision(UNSURE), _decision(None)
RICH = Budget(cost_usd=Decimal(1), tokens=100_000)


@pipeline("sorter", version=1, tools=[language_model(NAME), later], budget=RICH)
async def sorter(flow: Flow, mail: Mail) -> Sorted:
    """One decision by a model, and a call after it."""
    decision = SORT if mail.fallback else SORT_OR_STOP
    found = await flow.decide("sort", decision, text=mail.text)
    await flow.call("later", later, n=1)
    return found


@pipeline("asks-undeclared", version=1, tools=[], budget=RICH)
async def undeclared(flow: Flow, mail: Mail) -> Sorted:
    """Asks a model that it does not declare."""
    return await flow.decide("sort", SORT, text=mail.text)


ACTS = Agent(
    name="helper",
    instructions="You help.",
    answer=Sorted,
    model=by_language_model(NAME),
    turns=5,
)


@pipeline("actor", version=1, tools=[language_model(NAME), later], budget=RICH)
async def actor(flow: Flow, mail: Mail) -> Sorted:
    """A model that proposes calls."""
    return await flow.act("help", ACTS, goal="Sort the mail", offers=[offer(later)])


PIPELINES: Catalogue = {(e.name, e.version): e for e in (sorter, undeclared, actor)}
