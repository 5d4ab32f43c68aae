"""The clients: each wants one ticket, and asks again when it hears nothing."""

import asyncio
from typing import Protocol

from tests.desk_pipelines import Order
from tests.incident.plan import ASKS_AT_MOST, PATIENCE_S, Plan

SUCCESS = "success"
IN_DOUBT = "in doubt"
UNFINISHED = "unfinished"


class Side(Protocol):
    """One system that files tickets: how a client asks it, and what it says in the end."""

    async def ask(self, order: Order, number: int) -> None:
        """Ask for one ticket, for the first time (number 0) or again."""

    async def answered(self, order: Order, *, within_s: float) -> bool:
        """Whether there is an answer in time: done, failed, or with a person."""

    async def settled(self) -> bool:
        """Whether nothing moves by itself any more."""

    async def outcomes(self) -> dict[str, str]:
        """What it says of each reference: one of the words above, or why it failed."""


async def ask_all(side: Side, plan: Plan) -> int:
    """Let every client arrive, wait and ask again; return how often they have asked."""
    clients = (
        _client(side, order, plan.arrival_s(number)) for number, order in enumerate(plan.orders())
    )
    return sum(await asyncio.gather(*clients))


async def _client(side: Side, order: Order, arrival_s: float) -> int:
    await asyncio.sleep(arrival_s)
    for number in range(ASKS_AT_MOST):
        await side.ask(order, number)
        if await side.answered(order, within_s=PATIENCE_S):
            return number + 1
    return ASKS_AT_MOST
