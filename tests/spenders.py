"""Pipelines that spend money: calls of several prices, some charged less or more than said."""

import asyncio
from decimal import Decimal

from models.budget import Budget
from tests.pipelines import Number, Value
from tools.tool import Call, Effect, Rejected, Unavailable, tool, unknowable
from worker.flow import Flow
from worker.outcome import ToolFailed
from worker.pipeline import Catalogue, pipeline

CENT, TWO, NICKEL = Decimal("0.01"), Decimal("0.02"), Decimal("0.05")
DEAREST = NICKEL
"""The worst case of one call."""
GREEDY = Decimal("0.07")
"""What each third call of `spend.greedy` is charged, where 0.02 were reserved."""


class Length(Value):
    seconds: float = 0


async def _takes_a_while(args: Value) -> None:
    await asyncio.sleep(args.n % 5 * 0.006)


@tool("spend.search", effect=Effect.READ, timeout_s=5, cost_usd=CENT)
async def search(args: Value, call: Call) -> Value:
    await _takes_a_while(args)
    return args


@tool("spend.write", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600, cost_usd=NICKEL)
async def write(args: Value, call: Call) -> Value:
    await _takes_a_while(args)
    return args


@tool("spend.thrifty", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600, cost_usd=NICKEL)
async def thrifty(args: Value, call: Call) -> Value:
    """Says what it was charged: a cent."""
    await _takes_a_while(args)
    call.spent(CENT)
    return args


@tool("spend.greedy", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600, cost_usd=TWO)
async def greedy(args: Value, call: Call) -> Value:
    await _takes_a_while(args)
    call.spent(GREEDY if args.n % 3 == 0 else TWO)
    return args


@tool("spend.surprise", effect=Effect.READ, timeout_s=5)
async def surprise(args: Value, call: Call) -> Value:
    """Free, it says of itself, and is charged."""
    call.spent(CENT)
    return args


@tool("spend.dear-refusal", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=60, cost_usd=CENT)
async def dear_refusal(args: Value, call: Call) -> Value:
    """Charged, and refused all the same; one that is not there is charged as well."""
    call.spent(TWO)
    if args.n:
        raise Unavailable("not now", retry_after_s=60)
    raise Rejected("never")


@tool("spend.once", effect=Effect.WRITE_ONCE, timeout_s=0.2, lookup=unknowable, cost_usd=CENT)
async def once(args: Value, call: Call) -> Value:
    return args


PRICED = (search, write, thrifty, greedy)
CHARGED = {
    "once": once,
    "greedy": greedy,
    "surprise": surprise,
    "refusal": dear_refusal,
    "thrifty": thrifty,
}
_RICH = Budget(cost_usd=Decimal(100), steps=1000, tool_calls=1000, seconds=3600)


class Order(Number):
    tool: str = "greedy"
    times: int = 1


@pipeline("spender", version=1, tools=PRICED, budget=_RICH)
async def spender(flow: Flow, given: Number) -> Number:
    """Three paid calls, each of another tool and price."""
    for i in range(3):
        await flow.call(f"pay-{i}", PRICED[(given.n + i) % len(PRICED)], n=given.n + i)
    return given


@pipeline("charged", version=1, tools=[*CHARGED.values()], budget=Budget(cost_usd=TWO + CENT))
async def charged(flow: Flow, given: Order) -> Number:
    """So many calls of one tool; a failure is caught."""
    for i in range(given.times):
        try:
            await flow.call(f"pay-{i}", CHARGED[given.tool], n=given.n + 3 * i)
        except ToolFailed:
            continue
    return Number(n=given.n)


class Climb(Number):
    same: int = 0
    """So many calls more, each like the first."""
    seconds: float = 0
    """Of each call."""
    ask: bool = False
    """A person, after the first call."""


@tool("spend.step", effect=Effect.READ, timeout_s=30, cost_usd=CENT, poll=True)
async def step(args: Length, call: Call) -> Length:
    await asyncio.sleep(args.seconds)
    return args


@pipeline("climb", version=1, tools=[step], budget=_RICH)
async def climb(flow: Flow, given: Climb) -> Number:
    """So many paid calls, one after the other; the number of those that were made is kept."""
    for i in range(given.n + given.same):
        n = i if i < given.n else 0
        await flow.call(f"call-{i}", step, n=n, seconds=given.seconds)
        await flow.partial(Number(n=i + 1))
        if given.ask and i == 0:
            await flow.ask("person", about=Number(n=1), reason="go on?")
    return Number(n=given.n + given.same)


PIPELINES: Catalogue = {(each.name, each.version): each for each in (spender, charged, climb)}
