"""A pipeline in which a model acts; what it says is a script that the test writes."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal

import orjson
from pydantic import BaseModel, Field

from models.budget import Budget
from tests.bound_pipelines import SENT, Mail, Nothing, Page, Sent, note, page, send
from tools.tool import Call, Contract, Effect, tool
from tools.trust import Trust
from worker.agents.agent import Agent, Reply, View, offer
from worker.flow import Flow
from worker.labels.binding import among, ref
from worker.pipeline import Catalogue, pipeline

SCRIPT: list[Any] = []
"""What the model says, turn by turn; the last one again and again. A function is asked."""
VIEWS: list[View] = []
"""What it was shown."""
DELETED: list[str] = []


class Task(BaseModel, extra="forbid"):
    goal: str = "Tell the customer"
    customer: str = "ann"


class Done(BaseModel, extra="forbid"):
    """Whatever the model makes of it."""

    text: str = ""
    verdict: Literal["fine", "bad"] = "fine"


class Name(Contract):
    id: str = Field(max_length=50)


class Payment(Contract):
    to: str
    amount: Decimal = Field(ge=0, le=1000)


@tool(
    "mail.answer",
    effect=Effect.WRITE,
    timeout_s=5,
    key_kept_for_s=3600,
    sinks={"/to": Trust.ENDORSED, "/text": Trust.UNTRUSTED, "/kind": Trust.ENDORSED},
)
async def answer(args: Mail, call: Call) -> Sent:
    """Answer somebody; whom, may be chosen among the known."""
    SENT.append(args)
    return Sent(to=args.to)


@tool("user.delete", effect=Effect.DESTRUCTIVE, timeout_s=5)
async def delete(args: Name, call: Call) -> Name:
    """Remove a user."""
    DELETED.append(args.id)
    return args


@tool("pay", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600, cost_usd=Decimal("0.01"))
async def pay(args: Payment, call: Call) -> Nothing:
    """Never offered."""
    SENT.append(Mail(to=args.to))
    return Nothing()


class Count(Contract):
    n: int = Field(ge=0, le=7)


@tool("counter.set", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=60,
      sinks={"/n": Trust.ENDORSED})  # fmt: skip
async def count(args: Count, call: Call) -> Count:
    """Three bits are not much."""
    return args


class Weight(Contract):
    kg: float
    n: int = 0


@tool("weigh", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600)
async def weigh(args: Weight, call: Call) -> Nothing:
    """Note a weight."""
    SENT.append(Mail(to=str(args.kg)))
    return Nothing()


async def says(view: View) -> Reply:
    """The script's next line."""
    if view.summary_bytes:
        return Reply(b'{"done": ["some"]}', tokens=10)
    VIEWS.append(view)
    await asyncio.sleep(0)
    line = SCRIPT[min(AGENT.turns - view.turns_left, len(SCRIPT) - 1)]
    if isinstance(line, Callable):  # type: ignore[arg-type]
        line = line(view)
    return Reply(line if isinstance(line, str | bytes) else orjson.dumps(line), tokens=10)


AGENT = Agent(name="script", instructions="Do what is asked.", answer=Done, model=says, turns=12)


def calls(name: str, **arguments: Any) -> dict[str, Any]:
    return {"call": {"tool": name, "arguments": arguments}}


def answers(text: str = "done") -> dict[str, Any]:
    return {"answer": {"text": text}}


@pipeline(
    "acting",
    version=1,
    tools=[page, answer, send, note, delete, pay, count, weigh],
    trusts=["/customer", "/goal"],
    budget=Budget(steps=40, tool_calls=20, tokens=1_000),
)
async def acting(flow: Flow, task: Task) -> Done:
    """The model may read, answer somebody whom the page lists, and note something down."""
    await flow.call("people", page)
    return await flow.act(
        "work",
        AGENT,
        goal=task.goal,
        offers=[
            offer(page),
            offer(answer, to=among("people:/people/*/id")),
            offer(send, to=ref("input:/customer")),
            offer(note),
            offer(delete),
            offer(count),
            offer(weigh),
        ],
    )


@pipeline("misnaming", version=1, tools=[page, note])
async def misnaming(flow: Flow, task: Task) -> Done:
    """What a careless author might write."""
    await flow.call("people", page)
    return await flow.act(
        task.goal, AGENT, goal="", offers=[offer(note)] * (2 if task.goal == "twice" else 1)
    )


PIPELINES: Catalogue = {("acting", 1): acting, ("misnaming", 1): misnaming}
__all__ = ["PIPELINES", "Page"]
