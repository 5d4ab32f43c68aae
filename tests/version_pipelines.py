"""The old release of a pipeline that tests change: its newer version is in test_versions."""

from pydantic import BaseModel

from models.budget import Budget
from tests.pipelines import Number, read, wait, write
from worker.flow import Flow
from worker.pipeline import Catalogue, pipeline

NAME = "relay"


class Given(BaseModel, extra="forbid"):
    n: int = 0
    seconds: float = 0


@pipeline(NAME, version=1, tools=[read, wait, write], budget=Budget(seconds=60))
async def relay(flow: Flow, given: Given) -> Number:
    """Reads, waits for as long as it is told, writes."""
    first = await flow.call("first", read, n=given.n)
    await flow.call("wait", wait, seconds=given.seconds)
    return Number(n=(await flow.call("last", write, n=first.n + 100)).n)


PIPELINES: Catalogue = {(NAME, 1): relay}
