"""What was seen: the rows of runs and steps after every change, and what the desk did."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from tests.desk_record import Seen, Ticket

T = TypeVar("T")


class RunSeen(NamedTuple):
    """A run's row after a change."""

    seq: int
    """The order in which rows were written, over runs and steps alike."""
    at: float
    """Seconds since 1970, by the clock that the desk has too."""
    writer: str
    """Each worker process has a name of its own at the database."""
    run_id: str
    status: str
    attempt: int
    stop_reason: str | None = None
    waiting_for: str | None = None
    crashes: int = 0


class EntrySeen(NamedTuple):
    """A ledger entry after a change."""

    seq: int
    at: float
    writer: str
    run_id: str
    step: str
    kind: str
    state: str
    attempt: int
    tries: int
    result: bytes | None = None
    effect: str | None = None

    @property
    def key(self) -> str:
        """As the target knows it."""
        return f"{self.run_id}:{self.step}"

    @property
    def writes(self) -> bool:
        return self.kind == "call" and self.effect != "read"


@dataclass(frozen=True)
class History:
    """Everything in the order in which it was written."""

    runs: list[RunSeen] = field(default_factory=list)
    entries: list[EntrySeen] = field(default_factory=list)
    requests: list[Seen] = field(default_factory=list)
    tickets: list[Ticket] = field(default_factory=list)
    workers: frozenset[str] = frozenset()
    """The writers that are worker processes; the others are people and the API."""

    def by_run(self) -> dict[str, list[RunSeen]]:
        return grouped(self.runs, lambda row: row.run_id)

    def by_key(self) -> dict[str, list[EntrySeen]]:
        return grouped(self.entries, lambda row: row.key)

    def of(self, whose: str) -> "History":
        """What concerns one run or one of its steps' keys, for whoever has to read it."""
        run_id = whose.partition(":")[0]
        return History(
            [row for row in self.runs if row.run_id == run_id],
            [row for row in self.entries if row.run_id == run_id],
            [row for row in self.requests if (row.key or "").startswith(run_id)],
            [row for row in self.tickets if (row.key or "").startswith(run_id)],
            self.workers,
        )


def lines(history: History) -> Iterator[str]:
    """Everything in its order, a line each, for whoever has to find out what happened."""
    told: list[tuple[float, str]] = []
    for run in history.runs:
        why = run.stop_reason or run.waiting_for or ""
        told.append((run.at, f"run {run.status} attempt {run.attempt} {why} by {run.writer}"))
    for entry in history.entries:
        what = f"step {entry.step} {entry.state} attempt {entry.attempt} tries {entry.tries}"
        told.append((entry.at, f"{what} by {entry.writer}"))
    for seen in history.requests:
        what = f"desk {seen.did} {seen.external_ref} for {seen.key}"
        told.append((seen.at, f"{what}: {seen.status or 'no answer'} {seen.fault or ''}"))
    first = min((at for at, _ in told), default=0.0)
    for at, what in sorted(told):
        yield f"{at - first:9.3f} s  {what}"


def grouped(rows: Iterable[T], key: Callable[[T], str]) -> dict[str, list[T]]:
    groups: defaultdict[str, list[T]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(groups)
