"""An agent in a small context that reads pages; what stands on them, the test says."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, Field

from models.budget import Budget
from tests.model_pipelines import NAME
from tools.llm import language_model
from tools.tool import Call, Contract, Effect, tool
from tools.trust import Trust
from worker.agents.agent import Agent, offer
from worker.agents.extract import extract
from worker.decision import Answer, Decision
from worker.flow import Flow
from worker.labels.binding import among, ref
from worker.pipeline import Catalogue, pipeline
from worker.wording import by_language_model

GOAL = "Find out when the shop in Elm Street opens, and tell the customer who asked."
PAGES: dict[int, Any] = {}
"""By number: a text, or the fields of a page, or what makes one of them."""
SENT: list["Mail"] = []


class Task(BaseModel, extra="forbid"):
    customer: str = "ann@example.com"
    agent: str = "usual"


class Done(BaseModel, extra="forbid"):
    text: str = Field(default="", max_length=400)


class Which(Contract):
    n: int = Field(ge=0, le=999)


class Link(Contract):
    id: str
    about: str = ""


class About(BaseModel, extra="allow"):
    """Of a careless author: it takes whatever else a target says."""

    size: int = 0


class Page(Contract):
    kind: Literal["page", "list"] = "page"
    about: About = About()
    text: str = ""
    links: list[Link] = Field(default=[])
    names: dict[str, str] = Field(default={})


class Mail(Contract):
    to: str
    text: str = ""


@tool("page.read", effect=Effect.READ, timeout_s=5, trusted=("/links/*/id",))
async def page(args: Which, call: Call) -> Page:
    """Read a page."""
    found = PAGES.get(args.n, "")
    found = found() if isinstance(found, Callable) else found  # type: ignore[arg-type]
    return Page.model_validate({"text": found} if isinstance(found, str) else found)


_SINKS = {"/to": Trust.ENDORSED, "/text": Trust.UNTRUSTED}


@tool("mail.send", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600, sinks=_SINKS)
async def send(args: Mail, call: Call) -> Mail:
    """Write to the customer."""
    SENT.append(args)
    return args


@tool("mail.answer", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600, sinks=_SINKS)
async def answer(args: Mail, call: Call) -> Mail:
    """Write to somebody whom a page links."""
    SENT.append(args)
    return args


class Hours(Answer):
    opens: int = Field(ge=0, le=24)
    who: str = ""


FACTS = Decision(
    name="facts",
    prompt="When does it open, and who keeps the shop?",
    answer=Hours,
    fallback=None,
    bar=0.5,
    model=by_language_model(NAME),
)
USUAL = Agent(
    name="reader",
    instructions="You help customers of a shop.",
    answer=Done,
    model=by_language_model(NAME),
    turns=12,
)
AGENTS = {
    "usual": USUAL,
    "long": replace(USUAL, turns=60, context_tokens=9_000),
    "tight": replace(USUAL, context_tokens=9_000, summarise_every=2),
    "tiny": replace(USUAL, context_tokens=2_000),
}
RICH = Budget(cost_usd=Decimal(20), tokens=2_000_000, steps=400, tool_calls=400)


@pipeline(
    "reading",
    version=1,
    tools=[language_model(NAME), page, send, answer],
    trusts=["/customer"],
    budget=RICH,
)
async def reading(flow: Flow, task: Task) -> Done:
    """Reads, has withheld texts looked into, writes to the customer or to whom pages link."""

    async def keep(_: str, got: BaseModel) -> None:
        await flow.partial(Done(text=type(got).__name__))

    return await flow.act(
        "work",
        AGENTS[task.agent],
        goal=GOAL,
        offers=[
            offer(page),
            offer(send, to=ref("input:/customer")),
            offer(answer, to=among("work/*/page.read:/links/*/id", "work/*/extract.facts:/who")),
            extract(FACTS),
        ],
        then=keep,
    )


PIPELINES: Catalogue = {("reading", 1): reading}
