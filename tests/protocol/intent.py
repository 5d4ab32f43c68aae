"""An intent: the statement that reads the gate and commits what may then be sent once."""

from tests.protocol.explorer import Move
from tests.protocol.lease import lost
from tests.protocol.rules import Moves, Rules
from tests.protocol.state import (
    FINAL,
    NAMES,
    Entry,
    Gate,
    Mark,
    Stage,
    State,
    Try,
)

OPEN, SHUT = "sees it open", "sees it shut"
"""What an intent under way knows of the gate. Nobody else's eyes count."""


def tried(rules: Rules, state: State, number: int) -> Moves:
    """worker/trip.py `_try_until_over`: every try is admitted anew.

    Without the guard, one that follows another leaves on the intent that is there.
    """
    worker, entry = state.workers[number], state.entry
    again = entry.token and entry.mark in {Mark.RESERVED, Mark.RELEASED}
    if not rules.guarded("every_try") and again and state.holds(number):
        admitted = worker._replace(stage=Stage.INTENDED, token=entry.token, knows="")
        does = "tries again on its old intent"
        return [Move(NAMES[number], does, state.with_worker(number, admitted))]
    if state.gate is Gate.OPEN and not state.flips:  # for ever: its two moments are one
        return commit(rules, state, number)
    return _begin(rules, state, number)


def _begin(rules: Rules, state: State, number: int) -> Moves:
    """worker/intent.py `_INTEND` takes its share of the gate's lock, and then its snapshot.

    A statement of its own takes the share too, and gives it back before the insert. A transaction
    with one snapshot for all takes that first, and waits for the lock afterwards.
    """
    if state.gate is Gate.LOCKED and rules.guarded("read_committed"):
        return []  # it waits
    does = "begins its intent"
    if not rules.guarded("check_in_statement"):
        does = "looks at the gate before its intent"
    elif not rules.guarded("read_committed"):
        does = "takes its snapshot, and no lock yet"
    sees = OPEN if state.gate in {Gate.OPEN, Gate.LOCKED} else SHUT
    begun = state.workers[number]._replace(stage=Stage.BEGUN, knows=sees)
    return [Move(NAMES[number], does, state.with_worker(number, begun))]


def commit(rules: Rules, state: State, number: int) -> Moves:
    """Its end: the fence and the entry as they are under their locks, the gate as it was seen."""
    worker, entry, name = state.workers[number], state.entry, NAMES[number]
    if state.gate is Gate.LOCKED and rules.guarded("check_in_statement"):
        return []  # it has no share of the lock yet, and waits
    if rules.guarded("fence") and not state.holds(number):
        return [Move(name, "is refused its intent: LostLease", lost(state, number))]
    if entry.mark in FINAL and rules.guarded("outcome_stands"):
        over = worker._replace(stage=Stage.DONE, knows=entry.result)
        return [Move(name, "is refused its intent: Overtaken", state.with_worker(number, over))]
    if (rules.guarded("gate") and worker.knows == SHUT) or entry.mark is Mark.IN_DOUBT:
        leaving = worker._replace(stage=Stage.LEAVING, knows="gate")
        return [Move(name, "is refused its intent: GateShut", state.with_worker(number, leaving))]
    token = len(state.tries) + 1
    intended = state._replace(tries=(*state.tries, Try()), entry=Entry(Mark.RESERVED, token))
    admitted = worker._replace(stage=Stage.INTENDED, token=token, knows="")
    return [Move(name, "commits its intent", intended.with_worker(number, admitted))]


def holds_gate(rules: Rules, state: State) -> bool:
    """Whether an intent under way has its share of the gate's lock, until it commits."""
    if not rules.guarded("read_committed") or not rules.guarded("check_in_statement"):
        return False
    return any(each.stage is Stage.BEGUN for each in state.workers)
