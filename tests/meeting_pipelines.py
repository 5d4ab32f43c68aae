"""A pipeline whose writes want snapshots, and that calls or proposes them."""

import asyncio
import contextlib

from pydantic import BaseModel

from models.autonomy import Autonomy
from tests.snapshot_pipelines import N, check, keep, look, put, restore
from tools.tool import Unavailable
from worker.flow import Flow
from worker.outcome import ToolFailed
from worker.pipeline import Catalogue, pipeline

BUSY = Unavailable("busy")


class Given(BaseModel, extra="forbid"):
    way: str = "call"
    n: int = 1


@pipeline("shelver", version=1, tools=[look, keep, put, check, restore])
async def shelver(flow: Flow, given: Given) -> N:
    """Puts something on the shelf, or proposes to."""
    if given.way == "propose":
        await flow.propose("put", put, n=given.n)
        return N(n=0)
    await flow.call("look", look)
    written = await flow.call("put", put, n=given.n)
    if given.way == "beside":
        await flow.all(flow.roll_back(to="look"), _lowered(flow))
    return written


async def _lowered(flow: Flow) -> None:
    """Write something else while a roll-back is under way, having just been lowered."""
    while not flow.steps.held.undoing:
        await asyncio.sleep(0)
    flow.steps.held.autonomy = Autonomy.OBSERVE
    with contextlib.suppress(ToolFailed):
        await flow.call("put-2", put, n=9)


PIPELINES: Catalogue = {(each.name, each.version): each for each in (shelver,)}
