"""An agent with three tools, as seed 4's six cases need it; its model is a script.

Where the tools go is `URL`, set by the test. What the script wants to call next it says by name,
as a model would, and the gateway judges it; or a model says it, and `flow.act` carries it out.
"""

from functools import partial
from typing import Any

import orjson
from pydantic import BaseModel

from tools.http import Wire
from tools.tool import Call, Contract, Effect, Tool, tool
from worker.agents.agent import Agent, Reply, View, offer
from worker.flow import Flow
from worker.pipeline import Catalogue, pipeline

URL: list[str] = []
"""The one place that all three tools reach."""


class Words(Contract):
    words: str


class Hits(Contract):
    hits: list[str]


class Ticket(Contract):
    title: str


class Opened(Contract):
    id: str


@tool("search.read", effect=Effect.READ, timeout_s=5)
async def search(args: Words, call: Call) -> Hits:
    reply = await Wire(URL[0]).send(
        "GET", "search", call=call, writes=False, query={"q": args.words}
    )
    return Hits.model_construct(**reply.body)


@tool("ticket.create", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600)
async def create(args: Ticket, call: Call) -> Opened:
    reply = await Wire(URL[0]).send(
        "POST", "tickets", call=call, writes=True, json=args.model_dump()
    )
    return Opened.model_construct(**reply.body)


@tool("db.write", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600)
async def write(args: Words, call: Call) -> Opened:
    await Wire(URL[0]).send("POST", "db", call=call, writes=True, json=args.model_dump())
    return Opened(id="0")


_TURNS = 200
_TOOLS: dict[str, Tool[Any, Any]] = {each.name: each for each in (search, create, write)}


class Script(BaseModel, extra="forbid"):
    """What the model wants, one call after the other: a tool's name and its arguments."""

    wants: list[tuple[str, dict[str, str]]]


class Told(BaseModel, extra="forbid"):
    found: list[str] = []
    opened: list[str] = []


@pipeline("scripted-agent", version=1, tools=list(_TOOLS.values()))
async def scripted(flow: Flow, given: Script) -> Told:
    """Does what the script wants, and keeps what it has so far."""
    told = Told()
    for number, (name, arguments) in enumerate(given.wants):
        got = await flow.call(f"{number}", _TOOLS[name], **arguments)
        if isinstance(got, Hits):
            told.found += got.hits
        else:
            told.opened.append(got.id)
        await flow.partial(told)
    return told


async def _says(wants: list[tuple[str, dict[str, str]]], view: View) -> Reply:
    """The same script, said by a model turn by turn."""
    if view.summary_bytes:
        return Reply(b"{}")
    turn = _TURNS - view.turns_left
    if turn < len(wants):
        name, arguments = wants[turn]
        return Reply(orjson.dumps({"call": {"tool": name, "arguments": arguments}}))
    found = [hit for each in view.history for hit in each.get("result", {}).get("hits", [])]
    return Reply(orjson.dumps({"answer": {"found": found}}))


@pipeline("acting-agent", version=1, tools=list(_TOOLS.values()))
async def acting(flow: Flow, given: Script) -> Told:
    """A model acts: it was offered the search alone."""
    told = Told()

    async def keep(_: str, got: BaseModel) -> None:
        told.found.extend(getattr(got, "hits", []))
        await flow.partial(told)

    agent = Agent("script", "", Told, partial(_says, given.wants), turns=_TURNS)
    return await flow.act("work", agent, goal="search", offers=[offer(search)], then=keep)


PIPELINES: Catalogue = {(each.name, each.version): each for each in (scripted, acting)}
