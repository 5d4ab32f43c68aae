"""Late statements: one whose connection broke is repeated, while its first copy is under way."""

from tests.protocol.explorer import Move
from tests.protocol.rules import Moves, Rules
from tests.protocol.state import FINAL, Entry, Gate, Late, Mark, State


def copies(state: State, found: Moves) -> Moves:
    """models/batcher.py `_patiently`: of each statement that wrote an entry, a copy may linger."""
    if not state.faults or state.late is not None:
        return []
    return [
        Move(
            move.who,
            f"{move.does}, asked twice",
            move.after._replace(
                faults=state.faults - 1, late=Late(state.run.attempt, move.after.entry)
            ),
            fault=True,
        )
        for move in found
        if not move.fault and move.after.entry != state.entry and move.after.run == state.run
    ]


def moves(rules: Rules, state: State) -> Moves:
    """The copy is executed: worker/intent.py `_INTEND` or worker/checkpoint.py `_SETTLE` again."""
    if state.late is None:
        return []
    entry, written = state.entry, state.late.entry
    mine = entry.token == written.token
    if written.mark is Mark.RESERVED:
        opens = entry.mark not in FINAL and entry.mark is not Mark.IN_DOUBT
        if state.gate is Gate.LOCKED:
            return []  # it waits
        taken = opens and not mine and (state.gate is Gate.OPEN or not rules.guarded("gate"))
    else:
        taken = entry.mark is Mark.RESERVED and (mine or not rules.guarded("token"))
    after = state._replace(late=None)
    if not taken:
        return [Move("late statement", "changes nothing", after)]
    late = Entry(written.mark, written.token, written.result)
    return [Move("late statement", f"writes {late.mark}", after._replace(entry=late))]
