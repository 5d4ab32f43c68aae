"""Pipelines that only tests and benchmarks run: each shows one thing the machinery must carry."""

import asyncio
import contextlib
import os
import signal
from decimal import Decimal

from pydantic import BaseModel, Field

from models.budget import Budget
from tools import egress
from tools.tickets import ticket as tickets
from tools.tool import Call, Contract, Effect, Lookup, Sighting, Undo, tool, unknowable
from worker.decision import Answer, Decision
from worker.flow import Flow
from worker.labels.binding import made, ref
from worker.outcome import ToolFailed
from worker.pipeline import Catalogue, pipeline


class Number(BaseModel, extra="forbid"):
    n: int = 0


class Value(Contract):
    n: int


class Seconds(Contract):
    seconds: float = Field(ge=0)


@tool("probe.read", effect=Effect.READ, timeout_s=30)
async def read(args: Value, call: Call) -> Value:
    return args


@tool("probe.write", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600)
async def write(args: Value, call: Call) -> Value:
    return args


@tool("probe.pay", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600, cost_usd=Decimal("0.10"))
async def pay(args: Value, call: Call) -> Value:
    return args


@tool("probe.wait", effect=Effect.READ, timeout_s=30)
async def wait(args: Seconds, call: Call) -> Seconds:
    await asyncio.sleep(args.seconds)
    return args


@pipeline("noop", version=1)
async def noop(flow: Flow, given: Number) -> Number:
    return given


@pipeline("five-reads", version=1, tools=[read])
async def five_reads(flow: Flow, given: Number) -> Number:
    for i in range(5):
        await flow.call(f"read-{i}", read, n=i)
    return given


@pipeline("five-writes", version=1, tools=[write])
async def five_writes(flow: Flow, given: Number) -> Number:
    for i in range(5):
        await flow.call(f"write-{i}", write, n=i)
    return given


@pipeline("says-text", version=1, tools=[read])
async def says_text(flow: Flow, given: Number) -> Number:
    """Passes a text where a number belongs."""
    return Number(n=(await flow.call("read", read, n=str(given.n))).n)


@pipeline("wait", version=1, tools=[wait])
async def waiting(flow: Flow, given: Seconds) -> Number:
    await flow.call("wait", wait, seconds=given.seconds)
    return Number()


@pipeline("pay", version=1, tools=[pay], budget=Budget(cost_usd=Decimal("0.30")))
async def paying(flow: Flow, given: Number) -> Number:
    for i in range(given.n):
        await flow.call(f"pay-{i}", pay, n=i)
    return given


class Guess(Answer):
    n: int = Field(ge=0)


def only_small(*, n: int) -> Guess | None:
    return Guess(n=n, confidence=1) if n < 10 else None


GUESS = Decision(
    name="guess",
    prompt="How many?",
    answer=Guess,
    fallback=Guess(n=0, confidence=0.1),
    bar=0.5,
    rules=(only_small,),
)


@pipeline("sure-or-ask", version=1, tools=[write])
async def sure_or_ask(flow: Flow, given: Number) -> Number:
    """Below the bar a person is asked; the write gets what was decided."""
    guess = await flow.decide("guess", GUESS, n=given.n)
    if guess.confidence < GUESS.bar:
        guess = await flow.ask("confirm", about=guess, reason="not sure how many")
    written = await flow.call("write", write, n=guess.n)
    return Number(n=written.n)


@pipeline("many-asks", version=1)
async def many_asks(flow: Flow, given: Number) -> Number:
    """Several questions side by side wait together."""
    answers = await flow.each(
        "ask",
        range(given.n),
        lambda step, n: flow.ask(step, about=Guess(n=n, confidence=0), reason=f"is it {n}?"),
        key=str,
    )
    return Number(n=sum(each.n for each in answers))


@pipeline("fan-out", version=1, tools=[read, write], budget=Budget(steps=1000, tool_calls=1000))
async def fan_out(flow: Flow, given: Number) -> Number:
    """Reads side by side, a partial result, then a write that may fail."""
    seen = await flow.each(
        "read", range(given.n), lambda step, n: flow.call(step, read, n=n), key=str
    )
    total = Number(n=sum(each.n for each in seen))
    await flow.partial(total)
    await flow.call("write", write, n=total.n)
    return total


@pipeline("forgiving", version=1, tools=[read, write])
async def forgiving(flow: Flow, given: Number) -> Number:
    """A tool's failure may be caught; an outcome may not, however broadly one catches."""
    try:
        value = await flow.call("first", read, n=1)
    except Exception:  # noqa: BLE001  # as a careless author would
        value = await flow.call("second", read, n=2)
    return Number(n=value.n)


@tool("probe.once", effect=Effect.WRITE_ONCE, timeout_s=0.3, lookup=unknowable)
async def once(args: Value, call: Call) -> Value:
    return args


@pipeline("once", version=1, tools=[once])
async def write_once(flow: Flow, given: Number) -> Number:
    return Number(n=(await flow.call("once", once, n=given.n)).n)


WRITTEN: dict[int, Value] = {}
"""What the target of `probe.lookup` has taken, as it would tell by itself."""


async def look_up(args: Value, call: Call) -> Sighting[Value]:
    found = WRITTEN.get(args.n)
    return Sighting(Lookup.FOUND, found) if found else Sighting(Lookup.ABSENT)


@tool("probe.lookup", effect=Effect.WRITE_ONCE, timeout_s=0.2, lookup=look_up)
async def looked_up(args: Value, call: Call) -> Value:
    WRITTEN[args.n] = args
    return args


@tool("probe.both", effect=Effect.WRITE, timeout_s=0.2, key_kept_for_s=3600, lookup=look_up)
async def both(args: Value, call: Call) -> Value:
    """Its target knows our key, and can be asked as well."""
    WRITTEN[args.n] = args
    return args


@pipeline("keyed-and-looked-up", version=1, tools=[both])
async def keyed_and_looked_up(flow: Flow, given: Number) -> Number:
    return Number(n=(await flow.call("once", both, n=given.n)).n)


@pipeline("once-looked-up", version=1, tools=[looked_up])
async def write_looked_up(flow: Flow, given: Number) -> Number:
    return Number(n=(await flow.call("once", looked_up, n=given.n)).n)


@tool("probe.slow", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600)
async def slow(args: Seconds, call: Call) -> Seconds:
    await asyncio.sleep(args.seconds)
    return args


@tool("probe.forgetful", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=6)
async def forgetful(args: Value, call: Call) -> Value:
    return args


@pipeline("short-memory", version=1, tools=[forgetful])
async def short_memory(flow: Flow, given: Number) -> Number:
    return Number(n=(await flow.call("write", forgetful, n=given.n)).n)


@pipeline("slow-write", version=1, tools=[slow], budget=Budget(seconds=0.3))
async def slow_write(flow: Flow, given: Seconds) -> Number:
    await flow.call("slow", slow, seconds=given.seconds)
    return Number()


@pipeline("slow-and-more", version=1, tools=[slow, write])
async def slow_and_more(flow: Flow, given: Seconds) -> Number:
    await flow.call("slow", slow, seconds=given.seconds)
    await flow.call("more", write, n=1)
    return Number()


@pipeline("poison", version=1, tools=[read, write])
async def poison(flow: Flow, given: Number) -> Number:
    """Zero kills the process that runs it, as a bug in a C extension would."""
    await flow.call("read", read, n=given.n)
    if given.n == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    await flow.call("write", write, n=given.n)
    return given


@pipeline("newcomer", version=1)
async def newcomer(flow: Flow, given: Number) -> Number:
    return Number(n={"a": 1}["b"])


SHELF: set[int] = set()
"""What the target of `probe.put` holds."""


@tool("probe.take", effect=Effect.WRITE, timeout_s=5, key_kept_for_s=3600)
async def take(args: Value, call: Call) -> Value:
    SHELF.discard(args.n)
    return args


@tool(
    "probe.put",
    effect=Effect.WRITE,
    timeout_s=5,
    key_kept_for_s=3600,
    undo=Undo(take, lambda asked, _: {"n": asked.n}),
)
async def put(args: Value, call: Call) -> Value:
    SHELF.add(args.n)
    return args


@pipeline("put-or-undo", version=1, tools=[read, put, pay], budget=Budget(steps=5, tool_calls=5))
async def put_or_undo(flow: Flow, given: Number) -> Number:
    """Puts three things; then a step fails, and the last two are taken back."""
    for n in range(3):
        await flow.call(f"put-{n}", put, n=n)
    try:
        await flow.call("check", read, n=given.n)
    except ToolFailed:
        await flow.roll_back(to="put-0")
    return given


@pipeline("pay-or-undo", version=1, tools=[put, pay])
async def pay_or_undo(flow: Flow, given: Number) -> Number:
    await flow.call("put", put, n=1)
    await flow.call("pay", pay, n=1)
    await flow.roll_back(to="put")
    return given


@tool("probe.destroy", effect=Effect.DESTRUCTIVE, timeout_s=1)
async def destroy(args: Value, call: Call) -> Value:
    return args


@pipeline("destructive", version=1, tools=[destroy])
async def destructive(flow: Flow, given: Number) -> Number:
    return Number(n=(await flow.call("destroy", destroy, n=given.n)).n)


@pipeline("undeclared", version=1, tools=[read])
async def undeclared(flow: Flow, given: Number) -> Number:
    return Number(n=(await flow.call("write", write, n=given.n)).n)


@pipeline("twice-the-name", version=1, tools=[read])
async def twice_the_name(flow: Flow, given: Number) -> Number:
    await flow.call("same", read, n=1)
    return Number(n=(await flow.call("same", read, n=2)).n)


@tool("probe.lie", effect=Effect.READ, timeout_s=1)
async def lie(args: Value, call: Call) -> Value:
    return Value.model_construct(n=float("nan"))


@pipeline("lied-to", version=1, tools=[lie])
async def lied_to(flow: Flow, given: Number) -> Number:
    return Number(n=(await flow.call("lie", lie, n=given.n)).n)


@pipeline("short-of-time", version=1, tools=[wait], budget=Budget(seconds=0.2))
async def short_of_time(flow: Flow, given: Seconds) -> Number:
    await flow.call("wait", wait, seconds=given.seconds)
    return Number()


@pipeline("one-ticket", version=1, tools=[tickets.create], trusts=["/n"])
async def one_ticket(flow: Flow, given: Number) -> Number:
    """The least that leaves an effect at the desk, whatever the versions of ticket-triage do."""
    number = ref("input:/n")
    await flow.call("open", tickets.create, external_ref=made("one:{}".format, number), title="A")
    return given


TICKS: list[int] = []
"""How often `probe.tick` was asked."""


@tool("probe.tick", effect=Effect.READ, timeout_s=5)
async def tick(args: Value, call: Call) -> Value:
    TICKS.append(args.n)
    return Value(n=len(TICKS))


@tool("probe.poll", effect=Effect.READ, timeout_s=5, poll=True)
async def poll(args: Value, call: Call) -> Value:
    return args


class Plan(BaseModel, extra="forbid"):
    """Calls such as `read 1`; `read 1 + read 2` side by side; `ask 1` and `guess 1` are verbs."""

    steps: list[str]


SPUN = {"read": read, "write": write, "put": put, "tick": tick, "poll": poll}


@pipeline("plan", version=1, tools=[*SPUN.values()], budget=Budget(steps=1000, tool_calls=1000))
async def planned(flow: Flow, given: Plan) -> Number:
    """Does what it is told; a failure is caught, and what was done is kept."""

    async def do(step: str, what: str) -> None:
        verb, n = what.split()
        if verb == "ask":
            await flow.ask(step, about=Guess(n=int(n), confidence=0), reason="go on?")
        elif verb == "guess":
            await flow.decide(step, GUESS, n=int(n))
        elif verb == "back":
            await flow.roll_back(to=f"{n}-0")
        else:
            with contextlib.suppress(ToolFailed):
                await flow.call(step, SPUN[verb], n=int(n))

    for i, each in enumerate(given.steps):
        await flow.all(*(do(f"{i}-{k}", what) for k, what in enumerate(each.split(" + "))))
        await flow.partial(Number(n=i + 1))
    return Number(n=len(given.steps))


class Address(Contract):
    url: str


class Page(Contract):
    text: str


@tool("probe.fetch", effect=Effect.READ, timeout_s=5, retries=0)
async def fetch(args: Address, call: Call) -> Page:
    """Reads whatever it is told to read, as far as the policy lets it."""
    return Page(text=str((await egress.get(args.url, call=call)).body))


@pipeline("fetch", version=1, tools=[fetch])
async def fetching(flow: Flow, given: Address) -> Page:
    return await flow.call("fetch", fetch, url=given.url)


PIPELINES: Catalogue = {
    (each.name, each.version): each
    for each in (
        noop, five_reads, five_writes, says_text,
        waiting, paying, sure_or_ask, many_asks, fan_out, forgiving,
        write_once, write_looked_up, keyed_and_looked_up,
        slow_write, short_memory, slow_and_more, poison, newcomer, put_or_undo, pay_or_undo,
        destructive, undeclared, twice_the_name, lied_to, short_of_time,
        one_ticket, planned, fetching,
    )
}  # fmt: skip
