"""Pipelines that propose: a call that destroys, others that may not be made by themselves."""

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, Field

from tests.bound_pipelines import Nothing
from tools.tool import Call, Contract, Effect, Rejected, Undo, tool
from tools.trust import Trust
from worker.flow import Flow
from worker.labels.binding import ref
from worker.outcome import ToolFailed
from worker.pipeline import Catalogue, pipeline

CLOSED: list["Account"] = []
"""What has left."""


class Account(Contract):
    id: str = Field(max_length=20)
    refund: Decimal = Decimal(0)
    how: Literal["gently", "at once"] = "gently"


class Closed(Contract):
    id: str
    done: bool = True


class Asked(BaseModel, extra="forbid"):
    id: str = "ann"
    way: str = "close"


@tool("account.close", effect=Effect.DESTRUCTIVE, timeout_s=5, sinks={"/how": Trust.ENDORSED})
async def close(args: Account, call: Call) -> Closed:
    """Close an account for good."""
    CLOSED.append(args)
    return Closed(id=args.id)


@tool("account.open", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600)
async def reopen(args: Account, call: Call) -> Closed:
    """Open it again."""
    return Closed(id=args.id, done=False)


async def _rehearsed(args: Account, call: Call) -> Closed:
    if args.id == "nobody":
        raise Rejected("there is no such account")
    return Closed(id=args.id, done=False)


@tool("account.note", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600)
async def note(args: Account, call: Call) -> Closed:
    """What cannot be taken back."""
    CLOSED.append(args)
    return Closed(id=args.id)


@tool("account.mark", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600, rehearse=_rehearsed)
async def mark(args: Account, call: Call) -> Closed:
    """It can be tried without being done."""
    CLOSED.append(args)
    return Closed(id=args.id)


@tool("account.look", effect=Effect.READ, timeout_s=5)
async def look(args: Nothing, call: Call) -> Nothing:
    """Changes nothing."""
    return args


@tool(
    "account.freeze", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600,
    undo=Undo(reopen, lambda asked, _got: {"id": asked.id}),
)  # fmt: skip
async def freeze(args: Account, call: Call) -> Closed:
    """It can be taken back."""
    CLOSED.append(args)
    return Closed(id=args.id)


@pipeline("proposer", version=1, tools=[close, note, mark, look, freeze, reopen], trusts=["/id"])
async def proposer(flow: Flow, given: Asked) -> Asked:
    """Proposes, or calls, as `way` says; goes on either way."""
    way, whose = given.way, ref("input:/id")
    if way in {"close", "close and wait"}:
        proposed = await flow.propose("close", close, id=whose, because="it is unused")
        given = Asked(id=str(proposed.id), way=way)
    if way == "destroy":
        await flow.call("close", close, id=whose)
    if way == "read":
        await flow.propose("look", look)
    if way == "write":
        try:
            await flow.call("note", note, id=whose)
        except ToolFailed as failure:
            given = Asked(id=given.id, way=f"{failure.reason}")
    if way == "write and stop":
        await flow.partial(given)
        await flow.call("note", note, id=whose)
    if way.startswith("rehearse"):
        marked = await flow.call("mark", mark, id=whose)
        given = Asked(id=marked.id, way=f"done: {marked.done}")
    if way == "undo":
        await flow.call("look", look)
        await flow.call("freeze", freeze, id=whose)
        await flow.roll_back(to="look")
    if way.endswith("and wait"):
        given = await flow.ask("sure", about=given, reason="sure?")
    return given


PIPELINES: Catalogue = {(each.name, each.version): each for each in (proposer,)}
