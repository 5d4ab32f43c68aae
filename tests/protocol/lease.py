"""The lease: claims, heartbeats, workers that die or freeze, and the sweeper."""

from tests.protocol.explorer import Move
from tests.protocol.rules import Moves, Rules
from tests.protocol.state import LATER, NAMES, Entry, Mark, Phase, Run, Stage, State, Status, Worker

NOT_HOLDING = frozenset({Stage.IDLE, Stage.UNSURE})
ASKS_DATABASE = frozenset(
    {Stage.CLAIMED, Stage.READY, Stage.BEGUN, Stage.TOLD, Stage.DONE, Stage.LEAVING}
)


def moves(rules: Rules, state: State) -> Moves:
    found = [move for number in range(len(NAMES)) for move in _worker(rules, state, number)]
    return found + _run_out(state) + _sweep(rules, state)


def _worker(rules: Rules, state: State, number: int) -> Moves:
    worker = state.workers[number]
    if worker.stage is Stage.IDLE:
        return _claim(state, number)
    found = _adopt(rules, state, number) if worker.stage is Stage.UNSURE else []
    if worker.silent or (state.run.lease_out and state.holds(number)):
        found.append(_beat(state, number))
    if state.faults:
        found += _faults(state._replace(faults=state.faults - 1), number)
    return found


def _claim(state: State, number: int) -> Moves:
    """worker/claim.py `_CLAIM`: queued and due, attempt + 1, worker, lease.

    The first attempt is always the first worker's: they do not differ.
    """
    run = state.run
    due = run.status is Status.QUEUED and state.phase() >= run.not_before
    if not due or (run.attempt == 0 and number > 0):
        return []
    taken = Run(Status.RUNNING, min(run.attempt + 1, LATER), number)
    heard = state._replace(run=taken)
    found = [
        Move(NAMES[number], "claims the run", _becomes(heard, number, Stage.CLAIMED, taken.attempt))
    ]
    if state.faults:
        unheard = _becomes(heard, number, Stage.UNSURE)._replace(faults=state.faults - 1)
        found.append(
            Move(NAMES[number], "claims the run and does not hear of it", unheard, fault=True)
        )
    return found


def _adopt(rules: Rules, state: State, number: int) -> Moves:
    """worker/claim.py `_ADOPT`: what is ours in the table and not in our hands, attempt + 1.

    Without the new attempt it is held as if it had just been claimed, and a first attempt does
    not load its record (worker/runner.py).
    """
    run, name = state.run, NAMES[number]
    if run.status is not Status.RUNNING or run.holder != number:
        return [Move(name, "finds nothing to adopt", state.with_worker(number, Worker()))]
    attempt = LATER if rules.guarded("adopt_attempt") else run.attempt
    adopted = state._replace(run=run._replace(attempt=attempt, lease_out=False), late=None)
    return [Move(name, "adopts the run", _becomes(adopted, number, Stage.CLAIMED, attempt))]


def _beat(state: State, number: int) -> Move[State]:
    """worker/heartbeat.py `_RENEW`: by (id, attempt), and only what runs. What is lost is let go.

    A write that has left is awaited all the same; one that has not, stays here (worker/trip.py).
    """
    worker, name = state.workers[number]._replace(silent=False), NAMES[number]
    if state.holds(number):
        kept = state._replace(run=state.run._replace(lease_out=False))
        return Move(name, "renews its lease", kept.with_worker(number, worker))
    if worker.stage is Stage.INTENDED:
        worker = worker._replace(stage=Stage.TOLD, knows="unsent")
    elif worker.stage not in {Stage.SENT, Stage.TOLD, Stage.WITNESS}:
        return Move(name, "hears that it has lost the run", lost(state, number))
    return Move(name, "hears that it has lost the run", state.with_worker(number, worker))


def _faults(state: State, number: int) -> Moves:
    worker, name = state.workers[number], NAMES[number]
    found = [Move(name, "dies", state.with_worker(number, Worker()), fault=True)]
    if not worker.silent and worker.stage not in NOT_HOLDING:
        silent = state.with_worker(number, worker._replace(silent=True))
        found.append(Move(name, "falls silent", silent, fault=True))
    if worker.stage in ASKS_DATABASE:
        # worker/runner.py: DatabaseAway, left behind; worker/intake.py is unsure from now on.
        behind = _becomes(state, number, Stage.UNSURE)
        found.append(Move(name, "leaves the run behind, its database is away", behind, fault=True))
    return found


def _run_out(state: State) -> Moves:
    """`lease_expires_at` passes: nobody renews for the holder."""
    run = state.run
    if run.status is not Status.RUNNING or run.lease_out:
        return []
    holder = state.workers[run.holder]
    if state.holds(run.holder) and not holder.silent and holder.stage not in NOT_HOLDING:
        return []
    return [Move("lease", "runs out", state._replace(run=run._replace(lease_out=True)))]


def _sweep(rules: Rules, state: State) -> Moves:
    """worker/sweeper.py `_EXPIRED`: judged by the row as it is under the lock.

    Without the guard, by what the sweeper saw a moment ago. The crash limit is any number: each
    crash may be the last. The end of the run leaves its doubt behind, listed.
    """
    expired = state.run.status is Status.RUNNING and state.run.lease_out
    if not rules.guarded("sweeper"):
        return []
    if rules.guarded("sweep_guard"):
        if not expired:
            return []
    elif not state.saw_expired:
        seen = state._replace(saw_expired=True)
        return [Move("sweeper", "sees that a lease ran out", seen)] if expired else []
    entry = state.entry
    if entry.mark is Mark.RESERVED and rules.writes:
        entry = Entry(Mark.IN_DOUBT, entry.token)
    swept = state._replace(saw_expired=False)
    ended = swept._replace(run=Run(Status.FINISHED, state.run.attempt), entry=entry)
    return [
        Move("sweeper", "puts the run back", swept._replace(run=back_in_line(state))),
        Move("sweeper", "ends the run, it crashed too often", ended),
    ]


def _becomes(state: State, number: int, stage: Stage, attempt: int = 0) -> State:
    return state.with_worker(number, Worker(stage, attempt))


def lost(state: State, number: int) -> State:
    """LostLease: the task ends; what is still ours in the table is adopted (worker/intake.py)."""
    ours = state.run.status is Status.RUNNING and state.run.holder == number
    return _becomes(state, number, Stage.UNSURE if ours else Stage.IDLE)


def back_in_line(state: State, not_before: Phase = Phase.OPEN) -> Run:
    run = state.run
    return Run(Status.QUEUED, run.attempt, not_before=not_before)
