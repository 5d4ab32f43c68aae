"""A history: what runs, their steps and the desk went through, and what must be true of it.

Pure functions over rows: `broken` names every promise that a history does not keep.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import orjson

from tests.chaos.rows import EntrySeen, History, RunSeen, grouped


class Broken(NamedTuple):
    """A promise, the key or the run that shows it broken, and what was seen."""

    promise: str
    whose: str
    told: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.whose}: {self.told}"


NEXT: Mapping[str | None, frozenset[str]] = {
    None: frozenset({"queued"}),
    "queued": frozenset({"running", "finished"}),
    "running": frozenset({"running", "queued", "waiting", "finished"}),
    "waiting": frozenset({"queued", "finished"}),
    "finished": frozenset(),
}
"""A run's states; running again is the adoption of a claim whose answer was lost."""
_FINAL = frozenset({"settled", "rejected"})
_BY_HOLDER = frozenset({"reserved", "settled", "rejected", "released"})


def attempts_only_grow(history: History) -> Iterator[Broken]:
    """A claim is a new attempt, and nothing else is."""
    for run_id, rows in history.by_run().items():
        attempt, status = 0, None
        for row in rows:
            claimed = row.status == "running"
            if row.attempt < attempt or (claimed and row.attempt != attempt + 1):
                yield Broken("P2", run_id, f"attempt {row.attempt} came after {attempt}")
            elif not claimed and row.attempt != attempt:
                yield Broken("P2", run_id, f"{status} -> {row.status} changed its attempt")
            attempt, status = row.attempt, row.status


def states_follow_the_diagram(history: History) -> Iterator[Broken]:
    """Also: what is finished stays as it is."""
    for run_id, rows in history.by_run().items():
        status = None
        for row in rows:
            if row.status not in NEXT[status]:
                yield Broken("P2", run_id, f"{status} -> {row.status}")
            status = row.status


def only_the_holder_writes(history: History) -> Iterator[Broken]:
    """A worker's step stands only while the last word on its run is that worker's own."""
    holder: dict[str, RunSeen] = {}
    both: list[RunSeen | EntrySeen] = sorted([*history.runs, *history.entries])
    for row in both:
        if isinstance(row, RunSeen):
            holder[row.run_id] = row
            continue
        held = holder.get(row.run_id)
        if row.writer not in history.workers or row.state not in _BY_HOLDER:
            continue
        if held is None or held.writer != row.writer:
            whose = held.writer if held else "nobody"
            yield Broken("P2", row.key, f"{row.writer} wrote {row.state}, but {whose} held it")


def attempts_do_not_overlap(history: History) -> Iterator[Broken]:
    """An intent carries the latest attempt of its run."""
    latest: dict[str, int] = {}
    both: list[RunSeen | EntrySeen] = sorted([*history.runs, *history.entries])
    for row in both:
        if isinstance(row, RunSeen):
            latest[row.run_id] = row.attempt
            continue
        if row.writer not in history.workers or row.state != "reserved":
            continue
        if row.attempt != latest.get(row.run_id):
            yield Broken("P2", row.key, f"an intent of attempt {row.attempt}, not the latest")


def settled_stays_settled(history: History) -> Iterator[Broken]:
    """Nothing follows an outcome, in the ledger or at the desk, but that it is undone."""
    requests = grouped(history.requests, lambda seen: seen.key or "")
    for key, rows in history.by_key().items():
        final = next((row for row in rows if row.state in _FINAL), None)
        if final is None:
            continue
        for row in rows[rows.index(final) + 1 :]:
            if (row.state, row.result) != (final.state, final.result) and row.state != "undone":
                yield Broken("P3", key, f"{final.state}, and later {row.state}")
        for seen in requests.get(key, ()):
            if seen.at > final.at:
                late_s = seen.at - final.at
                yield Broken("P3", key, f"sent again {late_s:.3f} s after it was {final.state}")


def every_request_had_an_intent(history: History) -> Iterator[Broken]:
    """What reached the desk had been committed before as about to be sent."""
    entries = history.by_key()
    for seen in history.requests:
        rows = entries.get(seen.key or "", [])
        if not any(row.state == "reserved" and row.at <= seen.at for row in rows):
            yield Broken("P4", seen.key or "no key", "it was sent without an intent")


def one_effect_for_each(history: History) -> Iterator[Broken]:
    """No ticket was opened twice, by whichever run or step."""
    for ref, count in Counter(ticket.external_ref for ticket in history.tickets).items():
        if count > 1:
            keys = [ticket.key for ticket in history.tickets if ticket.external_ref == ref]
            yield Broken("P4", keys[0] or ref, f"{count} tickets for {ref}, opened by {keys}")


def what_may_happen_twice_is_sent_once(history: History) -> Iterator[Broken]:
    """A WRITE_ONCE takes effect by one request, whether or not the desk would notice a second."""
    once = {row.key for row in history.entries if row.effect == "write_once"}
    taken = Counter(seen.key for seen in history.requests if seen.did in {"created", "repeated"})
    for key in once:
        if taken[key] > 1:
            yield Broken("P4", key, f"{taken[key]} requests would each have opened a ticket")


def the_record_tells_the_truth(history: History) -> Iterator[Broken]:
    """Of a run that succeeded, each settled write is at the desk, and nothing else is."""
    tickets = grouped(history.tickets, lambda ticket: ticket.key or "")
    won = {row.run_id for row in history.runs if row.stop_reason == "success"}
    told = set()
    for key, rows in history.by_key().items():
        last = rows[-1]
        if last.run_id not in won or not last.writes or last.state == "rejected":
            continue
        told.add(key)
        there = [str(ticket.id) for ticket in tickets.get(key, ())]
        named = orjson.loads(last.result or b"null")
        if last.state != "settled":
            yield Broken("P8", key, f"its run succeeded, and it is {last.state}")
        elif there != [named["id"] if isinstance(named, dict) else named]:
            yield Broken("P4", key, f"the record names {named}, the desk has {there}")
    for key in tickets.keys() - told:
        if key.partition(":")[0] in won:
            yield Broken("P4", key, "its run succeeded, and knows nothing of this ticket")


CHECKS: tuple[Callable[[History], Iterable[Broken]], ...] = (
    one_effect_for_each,
    what_may_happen_twice_is_sent_once,
    the_record_tells_the_truth,
    every_request_had_an_intent,
    settled_stays_settled,
    only_the_holder_writes,
    attempts_do_not_overlap,
    attempts_only_grow,
    states_follow_the_diagram,
)
"""What weighs most comes first."""


def broken(history: History) -> list[Broken]:
    """Every promise that this history does not keep; empty is what one hopes for."""
    return [each for check in CHECKS for each in check(history)]
