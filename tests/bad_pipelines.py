"""Pipelines and tools in which `sluice check` must find something, each line in its own way."""

import asyncio
import contextlib
import os
import random
import time
import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any

import aiohttp
from pydantic import BaseModel

from models.budget import Budget
from tools.tool import Call, Contract, Effect, tool, unknowable
from tools.trust import Trust
from worker.agents.agent import Agent, Reply, View, offer
from worker.decision import Answer, Decision
from worker.flow import Flow
from worker.labels.binding import fixed, ref
from worker.pipeline import pipeline


class Given(BaseModel, extra="forbid"):
    id: str = "7"
    items: list[str] = []


class Mail(Contract):
    to: str
    text: str = ""
    urgent: bool = False


class Page(Contract):
    text: str


class Open(Contract):
    anything: dict[str, Any]
    price: float = 0.0


@tool("bad.send", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=60,
      sinks={"/to": Trust.TRUSTED, "/text": Trust.UNTRUSTED,
             "/urgent": Trust.ENDORSED})  # fmt: skip
async def send(args: Mail, call: Call) -> Mail:
    return args


@tool("bad.sinks", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=60,
      sinks={"/too": Trust.TRUSTED}, trusted=("/idd",))  # fmt: skip
async def mistyped(args: Mail, call: Call) -> Mail:
    return args


@tool("bad.open", effect=Effect.WRITE_ONCE, timeout_s=5, lookup=unknowable)
async def loose(args: Open, call: Call) -> Open:
    return args


@tool("bad.page", effect=Effect.READ, timeout_s=30, cost_usd=Decimal(2))
async def page(args: Contract, call: Call) -> Page:
    return Page(text="")


@tool("bad.drop", effect=Effect.DESTRUCTIVE, timeout_s=5)
async def drop(args: Mail, call: Call) -> Mail:
    return args


@pipeline("replay", version=1)
async def replay(flow: Flow, given: Given) -> Given:
    await asyncio.gather()
    async with asyncio.TaskGroup():
        pass
    asyncio.create_task(asyncio.sleep(0))  # noqa: RUF006
    asyncio.ensure_future(asyncio.sleep(0))  # noqa: RUF006
    print(time.time(), time.monotonic())  # noqa: T201
    time.sleep(0)
    print(datetime.now(), datetime.utcnow(), datetime.today())  # noqa: DTZ002, DTZ003, DTZ005, T201
    random.choice([1])  # noqa: S311
    uuid.uuid4()
    print(os.environ["HOME"])  # noqa: T201
    open("/dev/null").close()  # noqa: PTH123
    aiohttp.ClientSession()
    hash("text")
    return _deeper(given)


def _deeper(given: Given) -> Given:
    try:
        random.random()  # noqa: S311
    except:  # noqa: E722
        given = Given()
    try:
        given = Given(id=given.id)
    except BaseException:  # noqa: BLE001
        return given
    with contextlib.suppress(BaseException):
        given = Given(id=given.id)
    with contextlib.suppress(ValueError):
        given = Given(id=given.id)
    for each in set(given.items):
        print(each)  # noqa: T201
    return given


@pipeline("names", version=1, tools=[send])
async def naming(flow: Flow, given: Given) -> Given:
    await flow.call("one", send, to=ref("input:/id"))
    for each in given.items:
        await flow.call("again", send, to=ref("input:/id"))
        await flow.call(f"again-{given.id}", send, to=ref("input:/id"))
        await flow.call(f"fine-{each}", send, to=ref("input:/id"))
        if each == "first":
            await flow.call("perhaps", send, to=ref("input:/id"))
        if each.isalpha():
            await flow.call("often", send, to=each.lower())
    await flow.call("one", send, to=ref("input:/id"))
    if given.id:
        await flow.call("either", send, to=ref("input:/id"))
    else:
        await flow.call("either", send, to=ref("input:/id"))
    return given


@pipeline("binds", version=1, tools=[send], trusts=["/ident"])
async def binds(flow: Flow, given: Given) -> Given:
    await flow.call("plain", send, to=given.id, text=given.id, urgent=bool(given.id))
    await flow.call("fixed", send, to=fixed(f"desk-{given.id}"))
    await flow.call("fine", send, to=fixed("desk"))
    await flow.call("nowhere", send, to=ref("input:/nothing"))
    await flow.call("nowhere-2", send, to=ref("plain:/nothing"))
    await flow.call("wrong", send, too=ref("input:/id"))
    await flow.call("other", mistyped, to=ref("input:/id"))
    return given


class Judged(Answer):
    pass


async def asks(*, text: str) -> Judged | None:
    return None


JUDGE = Decision(name="judge", prompt="?", answer=Judged, fallback=Judged(confidence=0), bar=1,
                 model=asks)  # fmt: skip


async def says(view: View) -> Reply:
    return Reply("{}")


AGENT = Agent(name="agent", instructions="", answer=Judged, model=says)


@pipeline("costs", version=1, tools=[page, drop, loose], budget=Budget(cost_usd=Decimal(1)))
async def costs(flow: Flow, given: Given) -> Given:
    read = await flow.call("page", page)
    await flow.decide("judge", JUDGE, text=read.text)
    return given


@pipeline("acts", version=1, tools=[page])
async def acts(flow: Flow, given: Given) -> Judged:
    return await flow.act("act", AGENT, goal="", offers=[offer(page)])


@pipeline("throws", version=1, tools=[drop])
async def throws(flow: Flow, given: Given) -> Given:
    await flow.call("away", drop, to=ref("input:/id"))
    return given


@pipeline("asks-first", version=1, tools=[drop])
async def asks_first(flow: Flow, given: Given) -> Given:
    await flow.propose("away", drop, to=ref("input:/id"))
    return given


@pipeline("forgotten", version=1)
async def forgotten(flow: Flow, given: Given) -> Given:
    return given


PIPELINES = [replay, naming, binds, costs, acts, throws, asks_first]
TOOLS = [mistyped]
