"""A pipeline in which a model plans; what it says is a script that the test writes."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson

from models.budget import Budget
from tests.act_pipelines import Done, Task, answer, count, delete, pay
from tests.bound_pipelines import SENT, Mail, Nothing, Page, note, page, send
from tools.llm import language_model
from tools.tool import Call, Contract, Effect, Snapshot, Undo, tool
from tools.trust import Trust
from worker.agents.agent import Agent, Reply, View, offer
from worker.flow import Flow
from worker.labels.binding import among, ref
from worker.pipeline import Catalogue, pipeline
from worker.wording import by_language_model

SCRIPT: list[Any] = []
"""What the model says, saying by saying; the last one again and again. A function is asked."""
VIEWS: list[View] = []
"""What it was shown."""
RESULTS: list[tuple[str, Any]] = []
"""What `then` was given."""
NAME = "planner"
WHY = "because the goal asks for it"


@tool("archive.copy", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600,
      cost_usd=Decimal("0.40"))  # fmt: skip
async def copy(args: Mail, call: Call) -> Nothing:
    """Costs something."""
    SENT.append(args)
    return Nothing()


class Person(Contract):
    to: str


@tool("mail.forward", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600,
      sinks={"/to": Trust.ENDORSED, "/text": Trust.UNTRUSTED})  # fmt: skip
async def forward(args: Mail, call: Call) -> Nothing:
    """Only to those who were found."""
    SENT.append(args)
    return Nothing()


@tool(
    "archive.move", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600,
    sinks={"/to": Trust.ENDORSED},
    undo=Undo(note, lambda asked, got, kept: {"to": asked.to}, Snapshot(page, lambda asked: {})),
)  # fmt: skip
async def move(args: Person, call: Call) -> Nothing:
    """Something is kept before it."""
    SENT.append(Mail(to=args.to))
    return Nothing()


async def says(view: View) -> Reply:
    """The script's line for as many sayings as there were."""
    VIEWS.append(view)
    await asyncio.sleep(0)
    line = SCRIPT[min(len(view.history), len(SCRIPT) - 1)]
    if isinstance(line, Callable):  # type: ignore[arg-type]
        line = line(view)
    return Reply(line if isinstance(line, str | bytes) else orjson.dumps(line), tokens=10)


PLANNER = Agent(name="script", instructions="Do what is asked.", answer=Done, model=says)
ASKED = Agent(
    name="asked", instructions="You plan.", answer=Done, model=by_language_model(NAME), mistakes=1
)


def call(name: str, because: str = WHY, **arguments: Any) -> dict[str, Any]:
    return {"tool": name, "arguments": arguments, "because": because}


def plans(*calls: dict[str, Any], because: str = WHY) -> dict[str, Any]:
    return {"plan": list(calls), "because": because}


def answers(text: str = "done") -> dict[str, Any]:
    return {"answer": {"text": text}}


async def _then(name: str, result: Any) -> None:
    RESULTS.append((name.rpartition("/")[2], result))


async def _plan(flow: Flow, task: Task, planner: Agent[Done]) -> Done:
    await flow.call("people", page)
    return await flow.plan(
        "work",
        planner,
        goal=task.goal,
        offers=[
            offer(page),
            offer(answer, to=among("people:/people/*/id")),
            offer(send, to=ref("input:/customer")),
            offer(note),
            offer(delete),
            offer(count),
            offer(copy),
            offer(move, to=among("people:/people/*/id")),
            offer(forward, to=among("people:/people/*/id", strictly=True)),
        ],
        then=_then,
    )


_TOOLS = [page, answer, send, note, delete, pay, count, copy, forward, move]
_BUDGET = Budget(steps=40, tool_calls=12, tokens=1_000)


@pipeline("planning", version=1, tools=_TOOLS, trusts=["/customer", "/goal"], budget=_BUDGET)
async def planning(flow: Flow, task: Task) -> Done:
    """The model may read, answer somebody whom the page lists, and note something down."""
    return await _plan(flow, task, PLANNER)


@pipeline(
    "planning-asked",
    version=1,
    tools=[*_TOOLS, language_model(NAME)],
    trusts=["/customer", "/goal"],
    budget=Budget(cost_usd=Decimal(5), tokens=200_000),
)
async def asked(flow: Flow, task: Task) -> Done:
    """The same with a language model."""
    return await _plan(flow, task, ASKED)


@pipeline("misplanning", version=1, tools=[page])
async def misplanning(flow: Flow, task: Task) -> Done:
    """What a careless author might write."""
    return await flow.plan("work", PLANNER, goal=task.goal, offers=[offer(page)], rounds=0)


PIPELINES: Catalogue = {(each.name, each.version): each for each in (planning, asked, misplanning)}
__all__ = ["PIPELINES", "Page"]
