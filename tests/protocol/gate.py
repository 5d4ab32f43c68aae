"""The gate: the flip, what the operator is told of it, and the runs that wait for its opening."""

from tests.protocol import intent
from tests.protocol.explorer import Move
from tests.protocol.lease import back_in_line
from tests.protocol.rules import Moves, Rules
from tests.protocol.state import UNANSWERED, Gate, Mark, Phase, State, Status


def moves(rules: Rules, state: State) -> Moves:
    return _shut(rules, state) + _told(rules, state) + _release(rules, state)


def _shut(rules: Rules, state: State) -> Moves:
    """models/gate.py `flip`: the table's lock, the update, the commit.

    The lock is given once no statement has a share of it; those that come meanwhile wait.
    """
    shut = state._replace(gate=Gate.SHUT)
    if state.gate is Gate.LOCKED:
        return [Move("operator", "shuts the gate", shut)]
    if state.gate is not Gate.OPEN or not state.flips:
        return []
    fewer = state.flips - 1
    if not rules.guarded("gate_lock"):
        return [Move("operator", "shuts the gate", shut._replace(flips=fewer))]
    if intent.holds_gate(rules, state):
        return []
    locked = state._replace(gate=Gate.LOCKED, flips=fewer)
    return [Move("operator", "locks the gate", locked)]


def _told(rules: Rules, state: State) -> Moves:
    """models/standstill.py `stopped` and `drained`: by the row alone, as it is at the moment."""
    if state.gate in {Gate.OPEN, Gate.LOCKED}:
        return []
    opened = state._replace(gate=Gate.OPEN, listed=False)
    found = [Move("operator", "opens the gate", opened)]
    if state.gate is Gate.SHUT and _stopped(rules, state):
        stopped = state._replace(gate=Gate.STOPPED)
        found.append(Move("operator", "is told STOPPED", stopped))
    if state.gate is Gate.STOPPED and _drained(rules, state):
        drained = state._replace(gate=Gate.DRAINED, listed=_listed(rules, state))
        found.append(Move("operator", "is told DRAINED", drained))
    return found


def _stopped(rules: Rules, state: State) -> bool:
    """No try may start to leave: its `send_before` has passed, or it is known to be over."""
    if not rules.guarded("stopped_waits"):
        return True
    return state.phase() > Phase.OPEN or _over(rules, state)


def _drained(rules: Rules, state: State) -> bool:
    """No try is under way: its `quiet_at` has passed, or it is known to be over.

    An entry may be in doubt before that: whoever ends a run leaves its doubt behind at once.
    """
    if not rules.guarded("drained_waits"):
        return True
    if state.entry.mark is Mark.IN_DOUBT and not rules.guarded("drained_doubts"):
        return True
    return state.phase() >= Phase.QUIET or _over(rules, state)


def _over(rules: Rules, state: State) -> bool:
    """Whether every try of the step is over, by its row.

    An outcome is the word of one try. What became of those before it, nobody knows.
    """
    once = len(state.tries) <= 1 or not rules.guarded("only_try")
    return state.entry.mark not in UNANSWERED and once


def _listed(rules: Rules, state: State) -> bool:
    """Whether the entry is in the list of what has no answer. A parked run's may be reserved."""
    if not rules.guarded("drained_lists"):
        return state.entry.mark is Mark.IN_DOUBT
    return state.entry.mark in UNANSWERED


def _release(rules: Rules, state: State) -> Moves:
    """worker/sweeper.py `_RELEASE`: what waits for the gate goes on once it is open."""
    if state.run.status is not Status.AT_GATE or not rules.guarded("gate_release"):
        return []
    if state.gate is not Gate.OPEN:
        return []
    opened = state._replace(run=back_in_line(state))
    return [Move("sweeper", "lets the run back in line", opened)]
