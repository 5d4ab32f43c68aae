"""The kit: tools that reach nothing but a counter in this process, and a pipeline of them."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from pydantic import BaseModel

from models.call_audit import of_run
from models.guard import Guard
from models.shadow import PIPELINE
from tools.tool import Call, Contract, Effect, Rejected, Tool, Unavailable
from tools.trust import Trust
from worker.flow import Flow
from worker.held import Held
from worker.labels.binding import fixed
from worker.outcome import ToolFailed
from worker.pipeline import Pipeline, pipeline

READ, WRITE, SEND, AUDITED = "guards.read", "guards.write", "guards.send", "guards.audited"
PAID, LIAR, FAILING, ILL = "guards.paid", "guards.liar", "guards.failing", "guards.ill"
PACED, UNDECLARED = "guards.paced", "guards.undeclared"
COSTS_USD = Decimal("0.00000001")
"""What a paid call costs; the least that the ledger can hold, for it is booked like any other."""


class Asked(Contract):
    n: int = 0
    to: str = ""


class Told(Contract):
    n: int


class Line(BaseModel, extra="forbid"):
    """One call that the pipeline is to make."""

    tool: str
    n: int | str = 0
    to: str = ""
    plain: bool = False
    """Without a word on where `to` comes from."""
    forgiving: bool = False
    """Go on when it fails."""
    unsteady: bool = False
    """Ask something else in each attempt."""
    leaves: bool = False
    """After it the first attempt's worker shuts down."""


class Script(BaseModel, extra="forbid"):
    lines: list[Line]


class Done(BaseModel):
    pass


class Kit:
    """Of one verification. What Redis remembers of a tool is told apart by its name."""

    def __init__(self) -> None:
        self.reached: Counter[UUID] = Counter()
        self.held: Held | None = None
        """The run that is being tried."""
        self.mark = uuid4().hex[:8]
        self.tools = {each.name: each for each in self._tools()}
        declared = [each for each in self.tools.values() if each.name != UNDECLARED]
        self.pipeline = self._pipeline(declared)

    def tool(self, name: str) -> Tool[Any, Any]:
        return self.tools.get(name) or self.tools[f"{name}-{self.mark}"]

    def _tools(self) -> list[Tool[Any, Any]]:
        write, own = Effect.WRITE, self._reach
        return [
            _tool(READ, own),
            _tool(UNDECLARED, own),
            _tool(f"{PACED}-{self.mark}", own),
            _tool(f"{ILL}-{self.mark}", own),
            _tool(PAID, own, cost_usd=COSTS_USD),
            _tool(WRITE, own, effect=write),
            _tool(SEND, own, effect=write, sinks={"/n": Trust.UNTRUSTED}),
            _tool(AUDITED, self._look_for_the_line, effect=write),
            _tool(LIAR, self._lie),
            _tool(f"{FAILING}-{self.mark}", self._fail),
        ]

    async def _reach(self, args: Asked, call: Call) -> Told:
        self.reached[call.run_id] += 1
        return Told(n=args.n)

    async def _lie(self, args: Asked, call: Call) -> Told:
        self.reached[call.run_id] += 1
        lie: Any = "no number"
        return Told(n=args.n) if args.n else Told.model_construct(n=lie)

    async def _fail(self, _: Asked, call: Call) -> Told:
        self.reached[call.run_id] += 1
        raise Unavailable("it always says so")

    async def _look_for_the_line(self, args: Asked, call: Call) -> Told:
        """Reached in the right way only when the audit has the call already."""
        lines = await of_run(call.run_id)
        if args.n and not any(each["guard"] == Guard.SENSITIVE for each in lines):
            raise Rejected("it left before it was on record")
        return await self._reach(args, call)

    def _pipeline(self, tools: list[Tool[Any, Any]]) -> Pipeline[Script, Done]:
        async def body(flow: Flow, script: Script) -> Done:
            held = self.held
            assert held is not None  # noqa: S101  # the stage puts it there before each attempt
            for number, line in enumerate(script.lines, start=1):
                given: dict[str, Any] = {"n": held.attempt if line.unsteady else line.n}
                if line.to:
                    given["to"] = line.to if line.plain else fixed(line.to)
                try:
                    await flow.call(f"call-{number}", self.tool(line.tool), **given)
                except ToolFailed:
                    if not line.forgiving:
                        raise
                held.leaving = line.leaves and held.attempt == 1
            return Done()

        return pipeline(PIPELINE, version=1, tools=tools)(body)


def _tool(
    name: str,
    run: Callable[[Asked, Call], Awaitable[Told]],
    *,
    effect: Effect = Effect.READ,
    cost_usd: Decimal = Decimal(0),
    sinks: Mapping[str, Trust] | None = None,
) -> Tool[Any, Any]:
    return Tool(
        name=name, effect=effect, takes=Asked, gives=Told, run=run, timeout_s=5,
        cost_usd=cost_usd, retries=0, key_kept_for_s=3600, sinks=sinks,
        about="A synthetic tool of `sluice guards verify`.",
    )  # fmt: skip
