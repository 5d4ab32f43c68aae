"""Pipelines in which a model says what is known; what it says is a script that the test writes."""

import asyncio
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from models.budget import Budget
from tests.act_pipelines import answer
from tests.bound_pipelines import Page, note, page
from tools.llm import language_model
from worker.agents.assessment import Assessment, Assessor, Claims
from worker.decision import Answer, Decision
from worker.flow import Flow
from worker.labels.binding import fixed, ref
from worker.pipeline import Catalogue, pipeline
from worker.wording import by_language_model

SAYS: list[Any] = []
"""What the function says, time by time; the last one again and again."""
SHOWN: list[dict[str, Any]] = []
"""What it was shown."""
NAME = "judge"


class Case(BaseModel, extra="forbid"):
    goal: str = "Send the parcel"
    way: str = "function"
    or_else: str | None = None


class Sure(Answer):
    fine: bool = True


SURE = Decision("sure", "Is it?", Sure, Sure(confidence=1), bar=0.5)


async def claims(**shown: Any) -> Any:
    """The script's next line."""
    await asyncio.sleep(0)
    SHOWN.append(shown)
    said = SAYS[min(len(SHOWN), len(SAYS)) - 1]
    return Claims.model_validate(said) if isinstance(said, dict) else said


BY_FUNCTION = Assessor("known", "Look at what was found.", claims)
BY_MODEL = Assessor("known", "Look at what was found.", by_language_model(NAME, reasks=1))


@pipeline(
    "assessing",
    version=1,
    tools=[page, note, answer, language_model(NAME)],
    trusts=["/goal"],
    budget=Budget(cost_usd=Decimal(5), steps=20),
)
async def assessing(flow: Flow, case: Case) -> Assessment:
    """Look, decide, assess; then write to whom a person has named, if one was asked."""
    await flow.call("look", page)
    await flow.decide("sure", SURE)
    found = await flow.assess(
        "known",
        BY_MODEL if case.way == "model" else BY_FUNCTION,
        goal=case.goal,
        about=case,
        or_else=case.or_else,
    )
    for each in found.established:
        if each.by == "person":
            await flow.call(
                f"tell-{each.step}", answer, to=ref(f"{each.step}:/answer"), kind=fixed("answer"),
            )  # fmt: skip
    return found


PIPELINES: Catalogue = {("assessing", 1): assessing}
__all__ = ["PIPELINES", "Page"]
