"""A pipeline whose tool takes its time between its intent and its request, at the tests' desk."""

import asyncio
import os

from pydantic import BaseModel

from tests.desk_pipelines import URL, NewTicket, Opened
from tools.http import Wire
from tools.tool import Call, Effect, tool
from worker.flow import Flow
from worker.pipeline import Catalogue, pipeline

LINGER_S = 1.0


@tool("race.hesitate", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600)
async def hesitate(args: NewTicket, call: Call) -> Opened:
    await asyncio.sleep(LINGER_S)
    wire = Wire(os.environ[URL])
    reply = await wire.send("POST", "tickets", call=call, writes=True, json=args.model_dump())
    return Opened.model_validate(reply.body)


class Order(BaseModel, extra="forbid"):
    ref: str


@pipeline("hesitate", version=1, tools=[hesitate])
async def hesitating(flow: Flow, given: Order) -> Opened:
    return await flow.call("file", hesitate, external_ref=given.ref, title="slow")


PIPELINES: Catalogue = {(hesitating.name, hesitating.version): hesitating}
