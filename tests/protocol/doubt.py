"""Doubt: what becomes of a write that may or may not have happened."""

from tests.protocol.explorer import Move
from tests.protocol.lease import back_in_line, lost
from tests.protocol.rules import Moves, Rules
from tests.protocol.state import (
    NAMES,
    UNANSWERED,
    Entry,
    Mark,
    Phase,
    Run,
    Stage,
    State,
    Status,
    Worker,
)


def resolve(rules: Rules, state: State, number: int) -> Moves:
    """worker/doubt.py `resolve`: look it up once it can be seen; else a person is asked."""
    if not rules.scenario.lookup:
        return ask(rules, state, number)
    worker, name = state.workers[number], NAMES[number]
    visible = Phase.SEEN if rules.guarded("sees_after") else Phase.QUIET
    if rules.guarded("doubt_delay") and state.phase() < visible:
        return [_snooze(state, number, visible)]
    sees = state.phase() is Phase.SEEN
    found = ask(rules, state, number, "looks it up and learns nothing")
    if state.effects:
        told = worker._replace(stage=Stage.TOLD, knows="sighting")
        found.append(Move(name, "looks it up and finds it", state.with_worker(number, told)))
    if not state.effects or not sees:
        absent = worker._replace(knows="absent", doubt=False)
        found.append(Move(name, "looks it up: absent", state.with_worker(number, absent)))
    return found


def ask(rules: Rules, state: State, number: int, does: str = "has a question") -> Moves:
    """worker/doubt.py `ask`: not while the earlier request may be under way."""
    if rules.guarded("ask_delay") and state.phase() < Phase.QUIET:
        return [_snooze(state, number, Phase.QUIET)]
    asking = state.workers[number]._replace(stage=Stage.LEAVING, knows="review")
    return [Move(NAMES[number], does, state.with_worker(number, asking))]


def _snooze(state: State, number: int, until: Phase) -> Move[State]:
    later = state.workers[number]._replace(stage=Stage.LEAVING, knows=until.name)
    return Move(NAMES[number], "finds it too early to ask", state.with_worker(number, later))


def leave(rules: Rules, state: State, number: int) -> Moves:
    """worker/departure.py `_LEAVE`, or worker/parking.py `_PARK` and `_RESERVE`."""
    worker, run, entry = state.workers[number], state.run, state.entry
    name = NAMES[number]
    if not state.holds(number) and rules.guarded("departure_fence"):
        return [Move(name, "is refused its departure", lost(state, number))]
    gone = state.with_worker(number, Worker())
    if worker.knows == "gate":
        parked = Run(Status.AT_GATE, run.attempt)
        return [Move(name, "parks the run at the gate", gone._replace(run=parked))]
    if worker.knows != "review":
        snoozed = back_in_line(state, Phase[worker.knows])
        return [Move(name, "snoozes the run", gone._replace(run=snoozed))]
    if entry.mark not in UNANSWERED and rules.guarded("open_question"):
        return [Move(name, "has nothing left to ask", gone._replace(run=back_in_line(state)))]
    parked = Run(Status.REVIEWED, run.attempt)
    if entry.mark is Mark.RESERVED:
        entry = Entry(Mark.IN_DOUBT, entry.token)
    return [Move(name, "parks the run and asks", gone._replace(run=parked, entry=entry))]


def moves(rules: Rules, state: State) -> Moves:
    """models/verdict.py `answer`: `_CLOSE_STEP`, `_RELEASE_STEP`, `_GO_ON`. What is said is true.

    A run that ended with a write in doubt is asked about too (`_ASK_AFTER`).
    """
    run, entry = state.run, state.entry
    over = run.status is Status.FINISHED
    if over and rules.guarded("ask_after_delay") and state.phase() < Phase.QUIET:
        return []
    if run.status is not Status.REVIEWED and not (over and entry.mark is Mark.IN_DOUBT):
        return []
    after = state if over else state._replace(run=back_in_line(state))
    given_up = after._replace(abandoned=True)
    if entry.mark in UNANSWERED:
        given_up = given_up._replace(entry=Entry(Mark.REJECTED, entry.token, "given up"))
    found = [Move("person", "gives it up", given_up)]
    if state.effects:
        if entry.mark in UNANSWERED:
            after = after._replace(entry=Entry(Mark.SETTLED, entry.token, "person"))
        return [*found, Move("person", "says that it happened", after)]
    if entry.mark is Mark.IN_DOUBT:
        after = after._replace(entry=Entry(Mark.RELEASED, entry.token))
    return [*found, Move("person", "says that it did not happen", after)]
