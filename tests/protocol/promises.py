"""The promises of docs/guarantees.md, as far as this model can keep or break them."""

from collections.abc import Callable

from tests.protocol.rules import Rules
from tests.protocol.state import FINAL, UNANSWERED, Gate, Mark, Stage, State, Status, Way

ONE_RUN = "P1: one run for a key"
LATEST_WRITES = "P2: only the latest attempt writes"
STAYS_FINISHED = "P2: a finished run changes no more"
STAYS_SETTLED = "P3: an outcome stands for ever"
AS_RECORDED = "P3: a run goes on with what is recorded"
AT_MOST_ONCE = "P4: at most one effect"
GIVEN_UP = "P4: what is given up is not sent"
TRUE_LEDGER = "P4: the ledger does not contradict the target"
GATED = "P6: no intent while the gate is shut"
STOPPED = "P6: nothing is sent after STOPPED"
DRAINED = "P6: nothing is under way after DRAINED"
LISTED = "P6: DRAINED lists every doubt"
ENDS = "P8: a run comes to its end once faults stop"
EVERY = (
    ONE_RUN,
    LATEST_WRITES,
    STAYS_FINISHED,
    STAYS_SETTLED,
    AS_RECORDED,
    AT_MOST_ONCE,
    GIVEN_UP,
    TRUE_LEDGER,
    GATED,
    STOPPED,
    DRAINED,
    LISTED,
    ENDS,
)

_BEFORE = frozenset({Gate.OPEN, Gate.LOCKED})
_AFTER = frozenset({Gate.STOPPED, Gate.DRAINED})


def always(rules: Rules) -> dict[str, Callable[[State], bool]]:
    return {
        ONE_RUN: lambda state: state.runs <= 1,
        AS_RECORDED: _as_recorded,
        AT_MOST_ONCE: lambda state: state.effects <= 1,
        TRUE_LEDGER: _true if rules.writes else lambda _: True,
        DRAINED: lambda state: state.gate is not Gate.DRAINED or not _under_way(state),
        LISTED: lambda state: state.gate is not Gate.DRAINED or state.listed or _answered(state),
    }


def between() -> dict[str, Callable[[State, State], bool]]:
    return {
        LATEST_WRITES: _latest_writes,
        STAYS_FINISHED: lambda a, b: a.run.status is not Status.FINISHED or a.run == b.run,
        STAYS_SETTLED: lambda a, b: a.entry.mark not in FINAL or a.entry == b.entry,
        GIVEN_UP: lambda a, b: not (a.abandoned and _sends(a, b)),
        GATED: lambda a, b: a.gate in _BEFORE or len(a.tries) == len(b.tries),
        STOPPED: lambda a, b: not (a.gate in _AFTER and _sends(a, b)),
    }


def _as_recorded(state: State) -> bool:
    return all(
        worker.stage is not Stage.DONE
        or not state.holds(number)
        or worker.knows == state.entry.result
        for number, worker in enumerate(state.workers)
    )


def _true(state: State) -> bool:
    """Settled, it happened; released or refused, it did not. `given up` claims neither."""
    entry = state.entry
    if entry.mark is Mark.SETTLED:
        return state.effects > 0
    denied = entry.mark is Mark.RELEASED or (
        entry.mark is Mark.REJECTED and entry.result != "given up"
    )
    return not (denied and state.effects)


def _under_way(state: State) -> bool:
    return any(each.way is Way.TRAVELLING for each in state.tries)


def _answered(state: State) -> bool:
    """Whatever our requests have done at the target, the ledger knows it."""
    if state.entry.mark in UNANSWERED:
        return False
    known = state.entry.mark is Mark.SETTLED or state.entry.result == "given up"
    return known or not state.effects


def _latest_writes(before: State, after: State) -> bool:
    """A worker that acts without holding the run leaves its rows alone, but for testimony."""
    if before.run == after.run and before.entry == after.entry:
        return True
    for number, worker in enumerate(before.workers):
        acts = worker is not after.workers[number] and worker != after.workers[number]
        if acts and worker.attempt and not before.holds(number):
            return worker.stage is Stage.WITNESS and worker.token == before.entry.token
    return True


def _sends(before: State, after: State) -> bool:
    """A request starts to leave."""
    if len(after.tries) > len(before.tries) and after.tries[-1].way is Way.TRAVELLING:
        return True
    return any(
        each.way is Way.TRAVELLING and old.way is not Way.TRAVELLING
        for old, each in zip(before.tries, after.tries, strict=False)
    )
