"""The verdict: what became of every request, how long recovery took, and which promise broke."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from models.database import hot
from tests.chaos import journal
from tests.chaos.arena import LEASE_S, WORKERS, Arena
from tests.chaos.history import Broken, broken
from tests.chaos.load import Load
from tests.chaos.nemesis import Deed
from tests.chaos.rows import History, lines

_SHOWN = 5
_RUNS = "SELECT id::text, status, stop_reason, waiting_for, attempt, crashes, detail FROM run"


CALM = "longest recovery after a kill"
SUSPECT = "the same of runs killed before, claimed alone"
STORM = "the same with PostgreSQL or all workers down"
_SUSPECT_AT = 2
"""So many crashes, and a run is left to a process of its own, one at a time."""


class Recovery(NamedTuple):
    """A run whose worker died, until somebody else had it or it was over."""

    whose: str
    seconds: float
    kind: str


@dataclass
class Verdict:
    history: History
    runs: list[Any]
    recoveries: list[Recovery]
    promised_s: float
    """How soon somebody else has a run whose worker died."""
    wrong: list[Broken] = field(default_factory=list)
    missing: int = 0
    """Tickets that a successful run should have left, and did not."""
    doubts: int = 0
    """How often a person was asked whether a write had happened."""

    def longest_s(self, kind: str) -> float:
        return max((each.seconds for each in self.recoveries if each.kind == kind), default=0.0)


async def judge(arena: Arena, load: Load, deeds: Sequence[Deed], *, promised_s: float) -> Verdict:
    """Read everything, once it is quiet."""
    history = await journal.read(arena.desk.record)
    runs = await hot().fetch(_RUNS)
    verdict = Verdict(history, runs, list(recoveries(history, deeds)), promised_s)
    verdict.wrong += broken(history)
    verdict.doubts = await hot().fetchval("SELECT count(*) FROM review WHERE kind = 'in_doubt'")
    keys = [row[0] for row in await hot().fetch("SELECT key FROM request_key")]
    if len(verdict.runs) != len(load.wishes) or len(keys) != len(load.wishes):
        told = f"{len(verdict.runs)} runs for {len(keys)} keys and {len(load.wishes)} requests"
        verdict.wrong.append(Broken("P1", "all", told))
    for row in verdict.runs:
        if row["stop_reason"] != "success":
            told = f"{row['status']} {row['stop_reason'] or row['waiting_for']}: {row['detail']}"
            verdict.wrong.append(Broken("P8", row["id"], told))
    effects = arena.desk.record.effects()
    for wish in load.wishes:
        for ref in wish.order.refs():
            if not effects[ref]:
                verdict.missing += 1
                verdict.wrong.append(Broken("P8", ref, f"{wish.key} left no ticket"))
    for each in verdict.recoveries:
        if each.kind == CALM and each.seconds > promised_s:
            told = f"nobody had it for {each.seconds:.1f} s after its worker died"
            verdict.wrong.append(Broken("P8", each.whose, told))
    return verdict


def recoveries(history: History, deeds: Sequence[Deed]) -> Iterator[Recovery]:
    """For every kill and every run that the killed one held: until it was taken, or over."""
    runs = history.by_run()
    for deed in deeds:
        if not deed.kind.startswith("SIGKILL") or not deed.whom:
            continue
        for run_id, rows in runs.items():
            last = next((row for row in reversed(rows) if row.at <= deed.ended), None)
            if last is None or last.status != "running" or last.writer != deed.whom:
                continue
            later = (row for row in rows if row.at > deed.ended and row.status != "queued")
            taken = next(later, None)
            until = taken.at if taken else float("inf")
            kind = CALM if _calm(deed, until, deeds) else STORM
            if last.crashes + 1 >= _SUSPECT_AT and kind == CALM:
                kind = SUSPECT
            yield Recovery(run_id, until - deed.ended, kind)


def _calm(kill: Deed, until: float, deeds: Sequence[Deed]) -> bool:
    """Whether nothing else that delays a recovery happened about then.

    A worker that has just started, or woken, or lost its connection sweeps nobody until it has
    been seen steadily for a while: so at least one must have been left in peace.
    """
    since = kill.ended - 2 * LEASE_S
    about = [each for each in deeds if each.ended > since and each.began < until]
    if any(each.hits_the_database for each in about):
        return False
    disturbed = [each.whom for each in about if each.whom]
    return len(disturbed) < WORKERS


def show(
    console: Console, arena: Arena, load: Load, deeds: Sequence[Deed], verdict: Verdict
) -> None:
    table = Table(title="Chaos", title_justify="left", show_header=False)
    table.add_column(min_width=44)
    table.add_column(justify="right")
    for kind, count in sorted(Counter(each.kind for each in deeds).items()):
        table.add_row(kind, f"{count:,}")
    table.add_section()
    for fault, count in sorted(arena.desk.record.faults().items()):
        table.add_row(f"desk: {fault}", f"{count:,}")
    table.add_section()
    for what, figure in figures(load, verdict):
        table.add_row(what, figure)
    console.print(table)
    for each in verdict.wrong[:_SHOWN]:
        console.print(f"\nBROKEN {each}", markup=False)
        for line in lines(verdict.history.of(each.whose)):
            console.print(f"  {line}", markup=False)
    if len(verdict.wrong) > _SHOWN:
        console.print(f"\nand {len(verdict.wrong) - _SHOWN} more")


def figures(load: Load, verdict: Verdict) -> Iterator[tuple[str, str]]:
    history = verdict.history
    reasons = Counter(str(row["stop_reason"] or row["waiting_for"]) for row in verdict.runs)
    yield "requests", f"{len(load.wishes):,}"
    for door, count in sorted(load.sent.items()):
        yield f"sent by {door}", f"{count:,}"
    yield "sent again, for there was no run yet", f"{load.again:,}"
    for reason, count in sorted(reasons.items()):
        yield f"runs: {reason}", f"{count:,}"
    yield (
        "runs taken up again after a crash",
        f"{sum(row['crashes'] > 0 for row in verdict.runs):,}",
    )
    yield (
        "most attempts of one run",
        f"{max((row['attempt'] for row in verdict.runs), default=0):,}",
    )
    yield "requests at the desk", f"{len(history.requests):,}"
    yield "effects", f"{len(history.tickets):,}"
    yield "duplicates", f"{sum(n - 1 for n in _effects(history).values() if n > 1):,}"
    yield "lost", f"{verdict.missing:,}"
    yield "in doubt, answered by a person", f"{verdict.doubts:,}"
    yield "runs held by a worker as it was killed", f"{len(verdict.recoveries):,}"
    yield f"{CALM} (promised: {verdict.promised_s:g} s)", f"{verdict.longest_s(CALM):.1f} s"
    for kind in (SUSPECT, STORM):
        yield kind, f"{verdict.longest_s(kind):.1f} s"
    yield "promises broken", f"{len(verdict.wrong):,}"


def _effects(history: History) -> Counter[str]:
    return Counter(ticket.external_ref for ticket in history.tickets)
