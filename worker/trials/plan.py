"""The plan: a trial for every guard. The control comes last in each."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from models.guard import Guard
from models.run import StopReason, WaitingFor
from worker.trials.kit import (
    AUDITED,
    COSTS_USD,
    FAILING,
    ILL,
    LIAR,
    PACED,
    PAID,
    READ,
    SEND,
    UNDECLARED,
    WRITE,
    Line,
)  # fmt: skip
from worker.trials.probe import Probe, Scene, Seen, Trial, passed, refused

SETTLED = "settled"
_READS = {"safe_mode": {"allowed_tools": ["guards.*"]}}
"""The synthetic reads go on in safe mode, so that most guards can be tried then."""


def plan(fleet_usd: Decimal | None = None) -> dict[Guard, Trial]:
    """Every guard's. `fleet_usd`: the fleet's ceiling of a day, which holds for a trial as well."""
    made = {guard: make(guard) for guard, make in _PLAN.items()}
    made[Guard.SPEND] = _spend(Guard.SPEND, fleet_usd)
    return made


def _probe(
    what: str, expected: Seen, *lines: Line, scene: Scene = Scene.PLAIN, **policy: Any
) -> Probe:
    return Probe(what, lines, expected, _READS | policy, scene)


def _contract(guard: Guard) -> Trial:
    no = refused(guard, StopReason.TOOL_DENIED)
    odd, strict = Line(tool=READ, n="no number"), {"input": {"strict": True}}
    return Trial(guard, (
        _probe("an argument outside the tool's contract", no, odd),
        _probe("one that strict input does not coerce", no, Line(tool=READ, n="7"),
               validation=strict),
        _probe("one that fits", passed(SETTLED, reached=1), Line(tool=READ, n=7)),
    ))  # fmt: skip


def _allowlist(guard: Guard) -> Trial:
    no = refused(guard, StopReason.TOOL_DENIED)
    read = Line(tool=READ)
    return Trial(guard, (
        _probe("a tool that the pipeline does not declare", no, Line(tool=UNDECLARED)),
        _probe("one that the policy denies", no, read, tools={"deny": ["guards.r*"]}),
        _probe("one that it does not allow", no, read, tools={"allow": ["guards.w*"]}),
        _probe("one that both let it use", passed(SETTLED, reached=1), read,
               tools={"allow": ["guards.*"]}),
    ))  # fmt: skip


def _budget(guard: Guard) -> Trial:
    two = (Line(tool=READ, n=1), Line(tool=READ, n=2))
    three = (*two, Line(tool=READ, n=3))

    def over(what: str, by: StopReason, **ceiling: int) -> Probe:
        no = refused(guard, by, SETTLED, SETTLED, reached=2)
        return _probe(f"a third {what} under a ceiling of two", no, *three,
                      agent={"budgets": ceiling})  # fmt: skip

    return Trial(guard, (
        over("step", StopReason.STEP_BUDGET, max_steps=2),
        over("call", StopReason.TOOL_BUDGET, max_tool_calls=2),
        over("different call", StopReason.TOOL_BUDGET, max_unique_calls=2),
        _probe("a call that costs more than the run may", refused(guard, StopReason.COST_BUDGET),
               Line(tool=PAID), agent={"budgets": {"max_usd": 0}}),
        _probe("two calls under a ceiling of two", passed(SETTLED, SETTLED, reached=2), *two,
               agent={"budgets": {"max_steps": 2, "max_tool_calls": 2, "max_unique_calls": 2}}),
    ))  # fmt: skip


def _labels(guard: Guard) -> Trial:
    no = refused(guard, WaitingFor.REVIEW, "released")
    return Trial(guard, (
        _probe("a write whose target any text may have chosen", no,
               Line(tool=SEND, to="eve", plain=True)),
        _probe("one whose target the pipeline chose", passed(SETTLED, reached=1),
               Line(tool=SEND, to="ann")),
    ), writes=True)  # fmt: skip


def _approval(guard: Guard) -> Trial:
    always = {"approvals": {WRITE: "always"}}
    no = refused(guard, WaitingFor.REVIEW, "released")
    yes = Seen(StopReason.SUCCESS, (SETTLED,), 1, no.said)
    return Trial(guard, (
        _probe("a write that needs a person's approval", no, Line(tool=WRITE), tools=always),
        _probe("the same, approved", yes, Line(tool=WRITE), tools=always, scene=Scene.APPROVED),
    ), writes=True)  # fmt: skip


def _gate(guard: Guard) -> Trial:
    no, write = refused(guard, WaitingFor.GATE), Line(tool=WRITE)
    return Trial(guard, (
        _probe("a write after a flip that this process has not heard of", no, write,
               scene=Scene.SHUT_UNSEEN),
        _probe("a read that safe mode does not allow", no, Line(tool=READ), scene=Scene.SHUT,
               safe_mode={"allowed_tools": []}),
        _probe("a write while it is open", passed(SETTLED, reached=1), write),
    ), writes=True)  # fmt: skip


def _health(guard: Guard) -> Trial:
    failing, breakers = Line(tool=FAILING, forgiving=True), {"failure_threshold": 2}
    twice = refused(guard, WaitingFor.BREAKER, "rejected", "rejected", "released", reached=2)
    tools = {"limits": {"guards.*": {"max_retries": 0}}, "circuit_breakers": breakers}
    return Trial(guard, (
        _probe("a tool whose breaker is held open", refused(guard, WaitingFor.BREAKER, "released"),
               Line(tool=ILL), scene=Scene.ILL),
        _probe("one that has failed twice, for this process by itself", twice, failing, failing,
               Line(tool=FAILING), tools=tools, scene=Scene.ALONE),
        _probe("a tool that is well", passed(SETTLED, reached=1), Line(tool=READ)),
    ))  # fmt: skip


def _rate(guard: Guard) -> Trial:
    paced = (Line(tool=PACED, n=1), Line(tool=PACED, n=2))
    no = refused(guard, WaitingFor.RATE, SETTLED, "released", reached=1)
    return Trial(guard, (
        _probe("a second call of a tool that may be called every 100 s", no, *paced,
               tools={"limits": {"guards.*": {"per_second": 0.01}}}),
        _probe("a second call within a minute, where a run may make one",
               refused(guard, WaitingFor.RATE, SETTLED, reached=1), *paced,
               tools={"limits": {"guards.*": {"run_per_minute": 1}}}),
        _probe("two calls of one without a limit", passed(SETTLED, SETTLED, reached=2), *paced),
    ))  # fmt: skip


def _spend(guard: Guard, fleet_usd: Decimal | None = None) -> Trial:
    paid, no = Line(tool=PAID), refused(guard, WaitingFor.SPEND, "released")
    real = None if fleet_usd is None else str(fleet_usd)

    def at_most(usd: str, fleet: str | None = real) -> dict[str, Any]:
        return {"tenant_usd_per_day": usd, "fleet_usd_per_day": fleet}

    return Trial(guard, (
        _probe("a paid call of a tenant that may spend nothing", no, paid, spend=at_most("0")),
        _probe("one of a fleet that may not", no, paid, spend=at_most("1", "0")),
        _probe(f"one of {COSTS_USD:f} USD of a tenant that may", passed(SETTLED, reached=1), paid,
               spend=at_most("1")),
    ))  # fmt: skip


def _result(guard: Guard) -> Trial:
    no = refused(guard, StopReason.TOOL_OUTPUT_INVALID, "rejected", reached=1)
    return Trial(guard, (
        _probe("a result outside the tool's contract", no, Line(tool=LIAR)),
        _probe("one that fits", passed(SETTLED, reached=1), Line(tool=LIAR, n=1)),
    ))  # fmt: skip


def _loop(guard: Guard) -> Trial:
    again, thrice = Line(tool=READ, n=1), (SETTLED,) * 3
    steady = [Line(tool=READ, n=n) for n in (1, 2, 3)]
    no = refused(guard, StopReason.LOOP_DETECTED, *thrice, reached=3)
    return Trial(guard, (
        _probe("the same call for the third time", no, again, again, again, again),
        _probe("three different calls", passed(*thrice, reached=3), *steady),
    ))  # fmt: skip


def _replay(guard: Guard) -> Trial:
    no = refused(guard, StopReason.REPLAY_MISMATCH, SETTLED, reached=1)
    last = Line(tool=READ, n=9)
    return Trial(guard, (
        _probe("a resumed run that asks something else", no,
               Line(tool=READ, unsteady=True, leaves=True), last, scene=Scene.RESUMED),
        _probe("one that asks the same", passed(SETTLED, SETTLED, reached=2),
               Line(tool=READ, leaves=True), last, scene=Scene.RESUMED),
    ))  # fmt: skip


def _sensitive(guard: Guard) -> Trial:
    yes = Seen(StopReason.SUCCESS, (SETTLED,), 1, ((guard, "sends"),))
    return Trial(guard, (
        _probe("a sensitive write: its line is there before it leaves", yes,
               Line(tool=AUDITED, n=1), tools={"sensitive": ["guards.audited"]}),
        _probe("one that is not", passed(SETTLED, reached=1), Line(tool=AUDITED)),
    ), writes=True)  # fmt: skip


_PLAN: dict[Guard, Callable[[Guard], Trial]] = {
    Guard.CONTRACT: _contract,
    Guard.ALLOWLIST: _allowlist,
    Guard.BUDGET: _budget,
    Guard.LABELS: _labels,
    Guard.APPROVAL: _approval,
    Guard.GATE: _gate,
    Guard.HEALTH: _health,
    Guard.RATE: _rate,
    Guard.SPEND: _spend,
    Guard.RESULT: _result,
    Guard.LOOP: _loop,
    Guard.REPLAY: _replay,
    Guard.SENSITIVE: _sensitive,
}
