"""Admission and bells: one request sent twice, and bells that are doubled and lost."""

from tests.protocol.explorer import Move
from tests.protocol.rules import Moves, Rules
from tests.protocol.state import Run, State, Status

NEW, LOOKED, ANSWERED = "new", "found no run", "answered"
CLIENTS = ("first client", "second client")
BELLS = 2


def moves(rules: Rules, state: State) -> Moves:
    found: Moves = []
    for number in range(len(state.requests)):
        found += _admit(rules, state, number)
    if state.bells:
        fewer = state._replace(bells=state.bells - 1)
        # Heard, a bell makes a worker look now; the look is the claim, which needs no bell.
        found.append(Move("bell", "is heard", fewer))
        if state.faults:
            found.append(
                Move("bell", "is lost", fewer._replace(faults=state.faults - 1), fault=True)
            )
    if 0 < state.bells < BELLS and state.faults:
        more = state._replace(bells=state.bells + 1, faults=state.faults - 1)
        found.append(Move("bell", "is doubled", more, fault=True))
    return found


def _admit(rules: Rules, state: State, number: int) -> Moves:
    """models/admission.py `_ADMIT`: INSERT request_key ON CONFLICT DO NOTHING, and the run with it.

    Without the unique key, what is left is a look and an insert, with room between them.
    """
    client, said = CLIENTS[number], state.requests[number]
    if said == ANSWERED:
        return []
    if not rules.guarded("unique_key") and said == NEW and not state.runs:
        return [Move(client, "finds no run for its key", _answer(state, number, LOOKED))]
    answered = _answer(state, number, ANSWERED)
    if state.runs and said == NEW:
        return [Move(client, "gets the first run back", answered)]
    admitted = answered._replace(runs=state.runs + 1, bells=min(state.bells + 1, BELLS))
    if not state.runs:
        admitted = admitted._replace(run=Run(Status.QUEUED))
    return [Move(client, "is admitted", admitted)]


def _answer(state: State, number: int, said: str) -> State:
    before, after = state.requests[:number], state.requests[number + 1 :]
    return state._replace(requests=(*before, said, *after))
