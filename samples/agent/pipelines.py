"""Three clerks of the shop: one plans, one acts, one goes in circles.

What a clerk may choose is what its offers leave open: for whom and how much is bound to the order.
"""

from decimal import Decimal

from pydantic import BaseModel, Field

from models.budget import Budget
from samples.agent.shop import answer, mail, order, refund
from tools import kb
from tools.llm import language_model
from worker.agents.agent import Agent, offer
from worker.flow import Flow
from worker.labels.binding import ref
from worker.pipeline import pipeline
from worker.wording import by_language_model

MODEL = "clerk"
PURSE = Budget(cost_usd=Decimal("0.50"), tokens=200_000)


class Case(BaseModel, extra="forbid"):
    order_id: str = Field(max_length=20)


class Settled(BaseModel, extra="forbid"):
    told: str = Field(max_length=1_000)


def clerk(name: str, instructions: str) -> Agent[Settled]:
    return Agent(
        name=name,
        instructions=instructions,
        answer=Settled,
        model=by_language_model(MODEL),
        turns=8,
    )


PLANNER = clerk("planner", "You settle what customers of a shop ask for.")
CORRESPONDENT = clerk("correspondent", "You answer the customers of a shop.")
SEARCHER = clerk("searcher", "You look things up in the shop's handbook.")


@pipeline(
    "refund-desk",
    version=1,
    tools=[order, mail, refund, language_model(MODEL)],
    budget=PURSE,
    trusts=("/order_id",),
)
async def refund_desk(flow: Flow, case: Case) -> Settled:
    """Code looks the order up; a model plans the rest; money goes to who paid, or to nobody."""
    await flow.call("order", order, order_id=ref("input:/order_id"))
    return await flow.plan(
        "settle",
        PLANNER,
        goal=f"Do for order {case.order_id} what its customer asks for",
        offers=[
            offer(mail, order_id=ref("input:/order_id")),
            offer(refund, to=ref("order:/customer"), usd=ref("order:/paid_usd")),
        ],
    )


@pipeline(
    "mail-desk",
    version=1,
    tools=[order, mail, answer, language_model(MODEL)],
    budget=PURSE,
    trusts=("/order_id",),
)
async def mail_desk(flow: Flow, case: Case) -> Settled:
    """A model proposes one call after the other; a person allows what its text may have chosen."""
    return await flow.act(
        "reply",
        CORRESPONDENT,
        goal=f"Answer the customer of order {case.order_id}",
        offers=[
            offer(order, order_id=ref("input:/order_id")),
            offer(mail, order_id=ref("input:/order_id")),
            offer(answer),
        ],
    )


@pipeline("search-desk", version=1, tools=[kb.read, language_model(MODEL)], budget=PURSE)
async def search_desk(flow: Flow, case: Case) -> Settled:
    """A model asks the same again and again: the run is ended, and keeps what it has found."""

    async def keep(_tool: str, found: BaseModel) -> None:
        await flow.partial(Settled(told=f"found so far: {found.model_dump_json()[:200]}"))

    return await flow.act(
        "search",
        SEARCHER,
        goal=f"Find out how order {case.order_id} can be returned",
        offers=[offer(kb.read)],
        then=keep,
    )


PIPELINES = [refund_desk, mail_desk, search_desk]
