"""The walked path: a pipeline with every kind of step, once for each effect a write can have."""

import os
from datetime import timedelta

from pydantic import BaseModel, Field

from models.memory import TENANT
from tests.desk_pipelines import URL, NewTicket, Opened, create, create_blind, create_once
from tools.http import Wire
from tools.tool import Call, Contract, Effect, Tool, tool
from worker.decision import Answer, Decision
from worker.flow import Flow
from worker.pipeline import Catalogue, pipeline


class Place(Contract):
    external_ref: str


class Found(Contract):
    count: int


@tool("desk.find", effect=Effect.READ, timeout_s=2)
async def find(args: Place, call: Call) -> Found:
    """How many tickets there are for a reference."""
    wire = Wire(os.environ[URL])
    query = {"ref": args.external_ref}
    reply = await wire.send("GET", "tickets", call=call, writes=False, query=query)
    return Found(count=len(reply.body["tickets"]))


class Weight(Answer):
    heavy: bool


def weigh(*, count: int) -> Weight:
    return Weight(heavy=count > 0, confidence=0.4)


WEIGH = Decision(
    name="weigh",
    prompt="Is there much already?",
    answer=Weight,
    fallback=Weight(heavy=False, confidence=0),
    bar=0.5,
    rules=(weigh,),
)


class Path(BaseModel, extra="forbid"):
    ref: str = Field(min_length=1)

    def refs(self) -> tuple[str, str]:
        """Of both tickets that the path leaves behind."""
        return self.ref, f"{self.ref}/2"


class Walked(BaseModel, extra="forbid"):
    tickets: list[str]


async def _walk(flow: Flow, given: Path, write: Tool[NewTicket, Opened]) -> Walked:
    first_ref, second_ref = given.refs()
    found = await flow.call("look", find, external_ref=first_ref)
    first = await flow.call("file", write, external_ref=first_ref, title="the first")
    weight = await flow.decide("weigh", WEIGH, count=found.count)
    await flow.remember("learn", scope=TENANT, key=given.ref, value=first, ttl=timedelta(hours=1))
    known = await flow.recall("know", Opened, scope=TENANT, key=given.ref)
    assert known == first, "what it has remembered it knows"
    await flow.partial(Walked(tickets=[first.id]))
    weight = await flow.ask("confirm", about=weight, reason="it is never sure")
    second = await flow.call("note", write, external_ref=second_ref, title=f"{weight.heavy}")
    return Walked(tickets=[first.id, second.id])


@pipeline("path", version=1, tools=[find, create])
async def path(flow: Flow, given: Path) -> Walked:
    return await _walk(flow, given, create)


@pipeline("path-once", version=1, tools=[find, create_once])
async def path_once(flow: Flow, given: Path) -> Walked:
    return await _walk(flow, given, create_once)


@pipeline("path-blind", version=1, tools=[find, create_blind])
async def path_blind(flow: Flow, given: Path) -> Walked:
    return await _walk(flow, given, create_blind)


PIPELINES: Catalogue = {(each.name, each.version): each for each in (path, path_once, path_blind)}
