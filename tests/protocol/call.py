"""A call: from the record through intent, request and outcome to the end of the run."""

from tests.protocol import doubt, intent, late
from tests.protocol.explorer import Move
from tests.protocol.lease import back_in_line, lost
from tests.protocol.rules import Moves, Rules
from tests.protocol.state import (
    FINAL,
    NAMES,
    UNANSWERED,
    Entry,
    Gate,
    Mark,
    Phase,
    Run,
    Stage,
    State,
    Status,
    Try,
    Way,
    Worker,
)

OUTCOMES = {
    "answer": Mark.SETTLED,
    "sighting": Mark.SETTLED,
    "refusal": Mark.REJECTED,
    "turned away": Mark.RELEASED,
    "unsent": Mark.RELEASED,
}
"""What a worker may be told, and what it makes of the entry."""


def moves(rules: Rules, state: State) -> Moves:
    found: Moves = []
    for number, worker in enumerate(state.workers):
        act = _ACTS.get(worker.stage)
        if act is not None:
            acts = act(rules, state, number)
            found += acts
            if worker.stage in {Stage.READY, Stage.BEGUN, Stage.TOLD} and state.holds(number):
                found += late.copies(state, acts)
    return found


def _load(rules: Rules, state: State, number: int) -> Moves:
    """worker/record.py `_LOAD`; worker/runner.py has nothing to load for a first attempt."""
    worker, entry = state.workers[number], state.entry
    if abs(worker.attempt) == 1:
        entry = Entry()
    known = worker._replace(stage=Stage.READY, token=entry.token, knows=entry.mark)
    if entry.mark in FINAL:
        known = known._replace(stage=Stage.DONE, knows=entry.result)
    known = known._replace(doubt=rules.writes and entry.mark in UNANSWERED)
    return [Move(NAMES[number], "reads the record", state.with_worker(number, known))]


def _ready(rules: Rules, state: State, number: int) -> Moves:
    """worker/trip.py `_try_until_over`: what is in doubt is resolved, all else is tried.

    Whoever knows that nothing may be sent looks up first, wherever that is possible.
    """
    worker = state.workers[number]
    if not rules.writes:
        return _read(state, number)
    key_relied_on = rules.scenario.effect == "write" and (
        state.key_kept or not rules.guarded("key_share")
    )
    if worker.doubt and not key_relied_on:
        return doubt.resolve(rules, state, number)
    looked: Moves = []
    if worker.doubt and rules.scenario.lookup and state.gate is not Gate.OPEN:
        looked = doubt.resolve(rules, state, number)  # once it has seen the gate, not before
    if not rules.guarded("intent"):
        return [_leave_home(state._replace(tries=(*state.tries, Try())), number)]
    return looked + intent.tried(rules, state, number)


def _read(state: State, number: int) -> Moves:
    """A free read has no intent; its token is new with each outcome."""
    worker, name = state.workers[number], NAMES[number]
    token = 1 + max(state.entry.token, *(each.token for each in state.workers))
    read = worker._replace(stage=Stage.TOLD, token=token, knows=f"answer {token}")
    return [Move(name, "reads at the target", state.with_worker(number, read))]


def _send(rules: Rules, state: State, number: int) -> Moves:
    """worker/trip.py `_send`, tools/line.py: the clock is read with the connection in hand."""
    worker = state.workers[number]
    if rules.guarded("send_before") and state.tries[worker.token - 1].phase > Phase.OPEN:
        told = worker._replace(stage=Stage.TOLD, knows="unsent", silent=False)
        return [Move(NAMES[number], "is too late to send", state.with_worker(number, told))]
    return [_leave_home(state, number)]


def _leave_home(state: State, number: int) -> Move[State]:
    worker = state.workers[number]
    token = worker.token if worker.stage is Stage.INTENDED else len(state.tries)
    sent = state.with_try(token, way=Way.TRAVELLING)
    waiting = worker._replace(stage=Stage.SENT, token=token, knows="")
    return Move(NAMES[number], "sends its request", sent.with_worker(number, waiting))


_ANSWERS = {Way.DONE: "answer", Way.REFUSED: "refusal", Way.BUSY: "turned away"}


def _hear(rules: Rules, state: State, number: int) -> Moves:
    """tools/http.py: what an answer means. None is Ambiguous (worker/doubt.py `arise`)."""
    worker, name = state.workers[number], NAMES[number]
    way = state.tries[worker.token - 1].way
    doubtful = worker._replace(stage=Stage.READY, knows=Mark.RESERVED, doubt=True)
    if not state.holds(number) and not worker.silent:
        silence = lost(state, number)  # called off: it does not try again
    else:
        silence = state.with_worker(number, doubtful)
    found: Moves = []
    if way in _ANSWERS:
        told = worker._replace(stage=Stage.TOLD, knows=_ANSWERS[way])
        found.append(Move(name, "hears the answer", state.with_worker(number, told)))
    if way is Way.LOST:
        found.append(Move(name, "waits in vain for an answer", silence))
    elif state.faults:
        cut = silence._replace(faults=state.faults - 1)
        found.append(Move(name, "loses its connection", cut, fault=True))
    return found


def _conclude(rules: Rules, state: State, number: int) -> Moves:
    """worker/trip.py: an outcome is settled, unless an earlier try may say otherwise."""
    worker, name = state.workers[number], NAMES[number]
    mark = OUTCOMES.get(worker.knows, Mark.SETTLED)
    if mark is Mark.RELEASED and worker.doubt:
        again = worker._replace(stage=Stage.READY, knows=Mark.RESERVED)
        return [Move(name, "stays in doubt", state.with_worker(number, again))]
    if mark is Mark.REJECTED and worker.doubt and rules.guarded("refusal_in_doubt"):
        return doubt.ask(rules, state, number)
    return [_settle(rules, state, number, mark)]


def _settle(rules: Rules, state: State, number: int, mark: Mark) -> Move[State]:
    """worker/checkpoint.py `_SETTLE` (or `_RECORD`, without an intent), `_OURS`, `accounted`."""
    worker, entry, name = state.workers[number], state.entry, NAMES[number]
    fenced = state.holds(number) or not rules.guarded("fence")
    mine = entry.token == worker.token or not rules.guarded("token")
    intended = rules.writes and rules.guarded("intent")
    open_to_me = entry.mark is Mark.RESERVED and mine
    if not intended:
        open_to_me = entry.mark in {Mark.NONE, Mark.RELEASED}
    ours = (entry.token, entry.mark) == (worker.token, mark)
    if (fenced and open_to_me) or ours:
        if not ours:
            state = state._replace(entry=Entry(mark, worker.token, worker.knows))
        after = worker._replace(stage=Stage.DONE)
        if mark is Mark.RELEASED:
            after = worker._replace(stage=Stage.READY, knows=mark)
        return Move(name, f"writes {mark}", state.with_worker(number, after))
    if state.holds(number) and entry.mark in FINAL:
        told = worker._replace(stage=Stage.DONE, knows=entry.result)
        return Move(name, "finds another outcome: Overtaken", state.with_worker(number, told))
    if not intended:
        return Move(name, "is refused its outcome: LostLease", lost(state, number))
    witness = worker._replace(stage=Stage.WITNESS)
    return Move(name, "is refused its outcome: LostLease", state.with_worker(number, witness))


def _testify(rules: Rules, state: State, number: int) -> Moves:
    """worker/testimony.py `_TESTIFY`: no fence, but the token; and models/review.py `overtake`."""
    worker, entry, name = state.workers[number], state.entry, NAMES[number]
    mine = entry.token == worker.token or not rules.guarded("token")
    if not mine or entry.mark not in UNANSWERED:
        return [Move(name, "testifies in vain", lost(state, number))]
    mark = OUTCOMES[worker.knows]
    token = 0 if rules.guarded("late_token") else entry.token
    accepted = state._replace(entry=Entry(mark, token, worker.knows))
    if state.run.status is Status.REVIEWED:
        accepted = accepted._replace(run=back_in_line(state))
    return [Move(name, f"testifies: {mark}", lost(accepted, number))]


def _finish(rules: Rules, state: State, number: int) -> Moves:
    """worker/departure.py `_LEAVE`."""
    run = state.run
    if not state.holds(number) and rules.guarded("departure_fence"):
        return [Move(NAMES[number], "is refused its departure", lost(state, number))]
    finished = state._replace(run=Run(Status.FINISHED, run.attempt))
    return [Move(NAMES[number], "finishes the run", finished.with_worker(number, Worker()))]


_ACTS = {
    Stage.CLAIMED: _load,
    Stage.READY: _ready,
    Stage.BEGUN: intent.commit,
    Stage.INTENDED: _send,
    Stage.SENT: _hear,
    Stage.TOLD: _conclude,
    Stage.WITNESS: _testify,
    Stage.DONE: _finish,
    Stage.LEAVING: doubt.leave,
}
