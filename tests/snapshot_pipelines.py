"""Pipelines around one shelf, what stands on it is kept before it is changed."""

from pydantic import BaseModel, Field

from tools.tool import Call, Contract, Effect, Snapshot, Undo, tool
from worker.flow import Flow
from worker.labels.binding import ref
from worker.outcome import ToolFailed
from worker.pipeline import Catalogue, pipeline

SHELF: dict[str, int] = {}
"""What stands there now, as `n`."""
KEPT: dict[str, int] = {}
"""By key, what was kept; a second write of one key changes nothing."""


class N(Contract):
    n: int = 0


class Kept(Contract):
    id: str = Field(max_length=300)
    n: int


@tool("shelf.look", effect=Effect.READ, timeout_s=5)
async def look(args: N, call: Call) -> N:
    return N(n=SHELF["n"])


@tool("shelf.keep", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600, trusted=("/id",))
async def keep(args: N, call: Call) -> Kept:
    """Keep what stands there."""
    return Kept(id=call.key, n=KEPT.setdefault(call.key, SHELF["n"]))


@tool("shelf.restore", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600)
async def restore(args: Kept, call: Call) -> N:
    SHELF["n"] = args.n
    return N(n=args.n)


def _back(asked: N, got: N, kept: Kept) -> dict[str, object]:
    return {"id": kept.id, "n": kept.n}


@tool(
    "shelf.put",
    effect=Effect.WRITE,
    timeout_s=5,
    key_kept_for_s=3600,
    undo=Undo(restore, _back, snapshot=Snapshot(keep, lambda asked: {"n": asked.n})),
)
async def put(args: N, call: Call) -> N:
    SHELF["n"] = args.n
    return args


@tool("shelf.check", effect=Effect.READ, timeout_s=5)
async def check(args: Kept, call: Call) -> N:
    return N(n=args.n)


class Given(BaseModel, extra="forbid"):
    n: int = 1
    forgiving: bool = False


async def _put(flow: Flow, given: Given) -> N:
    """Change it, and take that back when it does not hold."""
    await flow.call("look", look)
    try:
        await flow.call("put", put, n=given.n)
    except ToolFailed:
        if not given.forgiving:
            raise
        return await flow.call("look-again", look, n=1)
    try:
        await flow.call("check", check, id=ref("put/snapshot:/id"), n=given.n)
    except ToolFailed:
        await flow.roll_back(to="look")
    return N(n=given.n)


@pipeline("keeps", version=1, tools=[look, keep, put, check])
async def keeps(flow: Flow, given: Given) -> N:
    return await _put(flow, given)


@pipeline("keeps-nothing", version=1, tools=[look, put, check])
async def keeps_nothing(flow: Flow, given: Given) -> N:
    """Does not declare what takes the snapshot."""
    return await _put(flow, given)


PIPELINES: Catalogue = {(e.name, e.version): e for e in (keeps, keeps_nothing)}
