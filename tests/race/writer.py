"""A writer: a process that writes as fast as the gate lets it. `python -m tests.race.writer ORDERS`

Intent, request, clocks and outcome are the worker's own, on the worker's own kind of loop. Left out
are the claim, the runner and the sweeper.
"""

import asyncio
import sys
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from time import monotonic
from typing import Any
from uuid import UUID

import orjson
import uvloop

from config.rulebook import rulebook
from models.budget import Budget, Usage
from models.database import open_database
from tests.race.variants import VARIANTS
from tools.http import Wire
from tools.tool import Call, Contract, Effect, Tool, tool
from worker.gatekeeper import Gatekeeper
from worker.gateway import Gateway
from worker.held import Held
from worker.journal import Journal
from worker.outcome import GateShut, Snooze

TENANT, PIPELINE, TOOL = "racer", "race", "race.write"
SEND_BEFORE_S = 2.0
_AT_ONCE = 4
"""Calls side by side in a process, so that batches form."""
_AGAIN_S = 0.001
_BUDGET = Budget(steps=10**9, tool_calls=10**9, seconds=10**9)


@dataclass(frozen=True)
class Orders:
    """What a writer is told."""

    database_url: str
    target: str
    run: UUID
    variant: str

    def told(self) -> str:
        return orjson.dumps(self).decode()


class Line(Contract):
    text: str


class Written(Contract):
    """The target has it."""


class Blind(Gatekeeper):
    """Believes that the gate is always open.

    What a process knows of the gate keeps most writes from being asked for at all, and would hide
    a leak in the one place that the promise rests on: the intent's statement.
    """

    async def admit(self, held: Held, tool: Tool[Any, Any], *, looking: bool = False) -> None:
        return

    def careful(self, held: Held, tool: Tool[Any, Any]) -> bool:
        return False


def writing(target: str, linger_s: float) -> Tool[Line, Written]:
    """A tool that writes to this target."""
    wire = Wire(target)

    @tool(TOOL, effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600)
    async def write(args: Line, call: Call) -> Written:
        if linger_s:
            await asyncio.sleep(linger_s)
        await wire.send("POST", "x", call=call, writes=True, json=args.model_dump())
        return Written()

    return write


def held(run: UUID) -> Held:
    return Held(
        id=run, attempt=1, tenant=TENANT, pipeline=PIPELINE, version=1, subject=None, input=b"{}",
        budget=_BUDGET, usage=Usage(), bugs=0, started=monotonic(), active_before_s=0.0,
    )  # fmt: skip


def blind_gateway() -> Gateway:
    """The worker's own, but that it hears of the gate from its intents alone."""
    journal, rules = Journal(patience=timedelta(seconds=30)), rulebook()
    return Gateway(journal, Blind(rules, patience_s=2), rules, send_before_s=SEND_BEFORE_S)


async def write(orders: Orders) -> None:
    """Write until killed."""
    variant = VARIANTS[orders.variant]
    variant.breaks()
    await open_database(orders.database_url, connections=4, watch=variant.watch)
    gateway = blind_gateway()
    own, way, numbers = held(orders.run), writing(orders.target, variant.linger_s), count(1)
    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(_again_and_again(gateway, own, way, numbers))


async def _again_and_again(
    gateway: Gateway, own: Held, way: Tool[Line, Written], numbers: "count[int]"
) -> None:
    while True:
        number = next(numbers)
        try:
            await gateway.call(
                own, way, {"text": f"x{number}"}, step=f"s{number}", number=number,
                allowed={TOOL: way},
            )  # fmt: skip
        except (GateShut, Snooze):  # the next one is a new step
            await asyncio.sleep(_AGAIN_S)


if __name__ == "__main__":
    _told = orjson.loads(sys.argv[1])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as _runner:
        _runner.run(write(Orders(**_told | {"run": UUID(_told["run"])})))
