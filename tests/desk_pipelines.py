"""Pipelines that file tickets at the tests' own desk, in each of the ways in which a target can be.

The desk's URL is in the environment as `SLUICE_TEST_DESK_URL`, so that worker processes find it.
"""

import asyncio
import os
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.run import StopReason
from tools.http import Wire
from tools.tool import (
    Ambiguous,
    Call,
    Contract,
    Effect,
    Lookup,
    Sighting,
    Tool,
    tool,
    unknowable,
)
from worker.flow import Flow
from worker.pipeline import Catalogue, pipeline

URL = "SLUICE_TEST_DESK_URL"
SEES_AFTER_S = 0.5
"""What `desk.create_once` believes of the desk; a test may make the desk slower than that."""
_TIMEOUT_S = 2.0


class NewTicket(Contract):
    external_ref: str = Field(min_length=1)
    title: str


class Opened(Contract):
    """A ticket, as the desk tells of it. Strict: another version of the desk must be noticed."""

    id: str
    external_ref: str


class _Listed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    tickets: list[Opened]


M = TypeVar("M", bound=BaseModel)


async def _post(args: NewTicket, call: Call) -> Any:
    reply = await _wire().send(
        "POST", "tickets", call=call, writes=True, json=args.model_dump(mode="json")
    )
    return reply.body


async def look_up(args: NewTicket, call: Call) -> Sighting[Opened]:
    """What the step's key has opened; unknown when the desk says so in words that are not ours."""
    reply = await _wire().send("GET", "tickets", call=call, writes=False, query={"key": call.key})
    try:
        tickets = _Listed.model_validate(reply.body).tickets
    except ValidationError:
        return Sighting(Lookup.UNKNOWN)
    return Sighting(Lookup.FOUND, tickets[0]) if tickets else Sighting(Lookup.ABSENT)


@tool("desk.create", effect=Effect.WRITE, timeout_s=_TIMEOUT_S, key_kept_for_s=3600)
async def create(args: NewTicket, call: Call) -> Opened:
    """For a desk that dedupes.

    A yes is passed on as it was said, for the gateway to check: it is an outcome, and no doubt
    that sending again could clear.
    """
    body = await _post(args, call)
    return Opened.model_construct(**(body if isinstance(body, dict) else {}))


async def _once(args: NewTicket, call: Call) -> Opened:
    body = await _post(args, call)
    try:
        return Opened.model_validate(body)
    except ValidationError as error:
        raise Ambiguous(
            "The desk says that it has opened a ticket, but not which one.",
            reason=StopReason.TOOL_OUTPUT_INVALID,
        ) from error


@tool(
    "desk.create_once",
    effect=Effect.WRITE_ONCE,
    timeout_s=_TIMEOUT_S,
    lookup=look_up,
    sees_after_s=SEES_AFTER_S,
)
async def create_once(args: NewTicket, call: Call) -> Opened:
    """For a desk that knows our key but does not mind it twice."""
    return await _once(args, call)


@tool("desk.create_blind", effect=Effect.WRITE_ONCE, timeout_s=_TIMEOUT_S, lookup=unknowable)
async def create_blind(args: NewTicket, call: Call) -> Opened:
    """For a desk that nobody can ask: when in doubt, a person decides."""
    return await _once(args, call)


class Order(BaseModel, extra="forbid"):
    """Tickets to file: `ref`, `ref/2`, `ref/3` and so on."""

    ref: str = Field(min_length=1)
    title: str
    steps: int = Field(default=1, ge=1, le=100)

    def refs(self) -> list[str]:
        return [self.ref, *(f"{self.ref}/{n}" for n in range(2, self.steps + 1))]


class Filed(BaseModel, extra="forbid"):
    """The numbers of the tickets, in the order of their references."""

    tickets: list[str]


async def _file(flow: Flow, given: Order, tool: Tool[NewTicket, Opened]) -> Filed:
    opened = [
        await flow.call(f"file-{number}", tool, external_ref=ref, title=given.title)
        for number, ref in enumerate(given.refs(), start=1)
    ]
    return Filed(tickets=[each.id for each in opened])


@pipeline("file-ticket", version=1, tools=[create])
async def file_ticket(flow: Flow, given: Order) -> Filed:
    return await _file(flow, given, create)


@pipeline("file-ticket-once", version=1, tools=[create_once])
async def file_ticket_once(flow: Flow, given: Order) -> Filed:
    return await _file(flow, given, create_once)


@pipeline("file-ticket-blind", version=1, tools=[create_blind])
async def file_ticket_blind(flow: Flow, given: Order) -> Filed:
    return await _file(flow, given, create_blind)


@tool("desk.look", effect=Effect.READ, timeout_s=_TIMEOUT_S)
async def look(args: NewTicket, call: Call) -> NewTicket:
    """Looks, and does not mind what it sees."""
    query = {"ref": args.external_ref}
    await _wire().send("GET", "tickets", call=call, writes=False, query=query)
    return args


@pipeline("look-later", version=1, tools=[look])
async def look_later(flow: Flow, given: Order) -> Filed:
    """Looks after four seconds in which it needs nobody; no pipeline but a test's may wait so."""
    await asyncio.sleep(4)
    await flow.call("look", look, external_ref=given.ref, title=given.title)
    return Filed(tickets=[])


def _wire() -> Wire:
    return Wire(os.environ[URL])


PIPELINES: Catalogue = {
    (each.name, each.version): each
    for each in (file_ticket, file_ticket_once, file_ticket_blind, look_later)
}
