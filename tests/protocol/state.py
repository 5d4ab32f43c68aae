"""The state: one run, its one step, the target, two workers, and what is under way between them.

Rows are as in PostgreSQL; a worker's fields are what one process holds in its head. Time is no
number. Of each try it is only known which of its deadlines have passed, in their order and in
the order of the tries; that a deadline has passed is an event like any other. What a deadline
promises is built in: none of a try's requests is travelling any more once it is QUIET.
"""

from enum import IntEnum, StrEnum
from typing import NamedTuple


class Status(StrEnum):
    """`run.status`, with what a waiting run waits for."""

    ABSENT = "absent"
    QUEUED = "queued"
    RUNNING = "running"
    AT_GATE = "waiting for the gate"
    REVIEWED = "waiting for a person"
    FINISHED = "finished"


class Mark(StrEnum):
    """`ledger_entry.state`; NONE while there is no row."""

    NONE = "none"
    RESERVED = "reserved"
    RELEASED = "released"
    SETTLED = "settled"
    REJECTED = "rejected"
    IN_DOUBT = "in_doubt"


FINAL = frozenset({Mark.SETTLED, Mark.REJECTED})
UNANSWERED = frozenset({Mark.RESERVED, Mark.IN_DOUBT})


class Phase(IntEnum):
    """Which of a try's deadlines have passed."""

    OPEN = 0  # it may start to leave
    CLOSED = 1  # send_before has passed
    QUIET = 2  # and the target's timeout: it travels no more
    SEEN = 3  # and sees_after: a look-up sees what it has done


class Way(StrEnum):
    """Where a try's request is."""

    HOME = "not sent"
    TRAVELLING = "travelling"
    DONE = "done"
    REFUSED = "refused"
    BUSY = "turned away"  # 429 or 503: nothing was done
    LOST = "lost"


class Stage(StrEnum):
    """How far a worker is with its attempt."""

    IDLE = "idle"
    UNSURE = "unsure what it holds"
    CLAIMED = "claimed"
    READY = "has the record"
    BEGUN = "its intent has begun"
    INTENDED = "intent committed"
    SENT = "waits for the answer"
    TOLD = "has an outcome"
    WITNESS = "lost the run, has an outcome"
    DONE = "step is over"
    LEAVING = "leaves"


class Gate(StrEnum):
    """The fleet's switch, and what the operator has been told since it was shut."""

    OPEN = "open"
    LOCKED = "open, and locked by who shuts it"
    SHUT = "shut"
    STOPPED = "shut, and stopped"
    DRAINED = "shut, and drained"


class Run(NamedTuple):
    """The row in `run`."""

    status: Status = Status.QUEUED
    attempt: int = 0
    """1 for the first, LATER for any later one: those before it are marked as past."""
    holder: int = -1
    """`worker`: which of them claimed it."""
    lease_out: bool = False
    """`lease_expires_at` has passed."""
    not_before: Phase = Phase.OPEN
    """`dispatch_at`: the phase of the last try from which it is due."""


class Entry(NamedTuple):
    """The row in `ledger_entry`."""

    mark: Mark = Mark.NONE
    token: int = 0
    """Of the latest try: 1 for the first. 0 is nobody's."""
    result: str = ""
    """Whose word it is."""


class Try(NamedTuple):
    """One committed intent, and the one request that it allows."""

    phase: Phase = Phase.OPEN
    way: Way = Way.HOME


class Worker(NamedTuple):
    """One worker's task, and what it believes."""

    stage: Stage = Stage.IDLE
    attempt: int = 0
    """Negative when it is past: no claim will give it out again."""
    token: int = 0
    knows: str = ""
    """READY: the entry's mark as it was read. BEGUN: the gate as its intent has seen it.
    TOLD, WITNESS: the outcome. LEAVING: where to."""
    doubt: bool = False
    """An earlier try may have happened."""
    silent: bool = False
    """It has not renewed its lease for too long; what it does now may come from before."""


class Late(NamedTuple):
    """A statement that was repeated, and whose first copy is still under way."""

    attempt: int
    entry: Entry
    """What it would write."""


LATER = 2
_NEEDS_ITS_TRY = frozenset({Stage.INTENDED, Stage.SENT})
_NEEDS_NO_TOKEN = frozenset({Stage.CLAIMED, Stage.DONE, Stage.LEAVING})
_NEEDS_NO_TRY = frozenset({Mark.NONE, Mark.RELEASED, "absent"})
_FORGOTTEN = Try(Phase.SEEN, Way.HOME)


class State(NamedTuple):
    """Everything."""

    faults: int
    """How many more may happen."""
    run: Run = Run()
    entry: Entry = Entry()
    tries: tuple[Try, ...] = ()
    workers: tuple[Worker, ...] = (Worker(), Worker())
    effects: int = 0
    """How often the target has done it."""
    key_kept: bool = True
    """The target still knows a key it has seen."""
    gate: Gate = Gate.OPEN
    flips: int = 0
    """How often the operator may shut the gate yet."""
    listed: bool = False
    """The entry is in the list that came with DRAINED."""
    late: Late | None = None
    saw_expired: bool = False
    """Without sweep_guard: a sweeper has seen the lease run out, and not acted yet."""
    abandoned: bool = False
    """A person has given the step up."""
    requests: tuple[str, ...] = ()
    runs: int = 1
    """How many runs the key has become."""
    bells: int = 0

    def holds(self, number: int) -> bool:
        """The fence: (id, attempt, 'running') names this worker's attempt."""
        run, worker = self.run, self.workers[number]
        return run.status is Status.RUNNING and 0 < worker.attempt == run.attempt

    def with_worker(self, number: int, worker: Worker) -> "State":
        workers = self.workers
        return self._replace(workers=(*workers[:number], worker, *workers[number + 1 :]))

    def with_try(self, token: int, **changes: object) -> "State":
        one = self.tries[token - 1]._replace(**changes)  # type: ignore[arg-type]  # as in Try
        return self._replace(tries=(*self.tries[: token - 1], one, *self.tries[token:]))

    def phase(self) -> Phase:
        """Of the latest try."""
        return self.tries[-1].phase if self.tries else Phase.SEEN

    def tidied(self) -> "State":
        """Without what can no longer make a difference, so that alike states are one state."""
        workers = tuple(self._tidy_worker(number) for number in range(len(self.workers)))
        needed = {each.token for each in workers if each.stage in _NEEDS_ITS_TRY}
        asked = self.entry.mark not in FINAL or any(each.doubt for each in workers)
        last = len(self.tries)
        kept = [
            each
            if each.way is Way.TRAVELLING or token in needed or (asked and token == last)
            else _FORGOTTEN
            for token, each in enumerate(self.tries, start=1)
        ]
        if self.flips or self.gate is not Gate.OPEN:  # then the row's deadlines are looked at
            unsafe = min((each.phase for each in kept), default=Phase.SEEN) < Phase.QUIET
            if unsafe and kept[-1] is _FORGOTTEN:
                kept[-1] = Try(self.tries[-1].phase)
        tries = tuple(kept)
        late, run = self.late, self.run
        if late is not None and (run.status, run.attempt) != (Status.RUNNING, late.attempt):
            late = None  # it finds no row: its attempt is past
        return self._replace(workers=workers, tries=tries, late=late)

    def _tidy_worker(self, number: int) -> Worker:
        worker = self.workers[number]
        if worker.attempt > 0 and not self.holds(number):
            worker = worker._replace(attempt=-worker.attempt)
        if worker.stage in _NEEDS_NO_TOKEN or worker.knows in _NEEDS_NO_TRY:
            worker = worker._replace(token=0, doubt=False)
        if worker.stage is Stage.BEGUN:
            worker = worker._replace(token=0)
        return worker


NAMES = ("w1", "w2")
