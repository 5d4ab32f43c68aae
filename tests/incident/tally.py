"""The tally: what a side says it did, beside what the desk has on record."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tests.desk_record import DeskRecord
from tests.incident.clients import IN_DOUBT, SUCCESS, UNFINISHED
from tests.incident.plan import Plan, Round

_SHOWN = 5
_TITLES = {
    "celery": "Celery",
    "celery-ref": "Celery, key per ticket",
    "sluice": "Sluice",
    "sluice-once": "Sluice",
}


@dataclass(frozen=True)
class Tally:
    """One side of one round."""

    round: str
    side: str
    asked: int
    asks: int
    tickets: int
    duplicates: int
    """Tickets beyond the first for a reference."""
    twice: int
    """References that have such."""
    lost: list[str]
    """No ticket, and nobody says so: neither failed nor in doubt."""
    succeeded: int
    in_doubt: list[str]
    in_doubt_with_ticket: int
    failed: dict[str, int]
    """By reason, ends that are no success."""
    failed_with_ticket: dict[str, int]
    unfinished: list[str]
    posts: int
    looks: int
    faults: dict[str, int]
    seconds: float


def tally(
    kind: Round, name: str, *, asks: int, said: dict[str, str], record: DeskRecord, seconds: float
) -> Tally:
    """Hold every reference's outcome against its tickets."""
    effects, faults = record.effects(), record.faults()
    failed = {ref: why for ref, why in said.items() if why not in {SUCCESS, IN_DOUBT, UNFINISHED}}
    in_doubt = [ref for ref, why in said.items() if why == IN_DOUBT]
    return Tally(
        round=kind.name,
        side=name,
        asked=len(said),
        asks=asks,
        tickets=effects.total(),
        duplicates=effects.total() - len(effects),
        twice=len(record.duplicates()),
        lost=[
            ref for ref, why in said.items() if why in {SUCCESS, UNFINISHED} and not effects[ref]
        ],
        succeeded=sum(why == SUCCESS for why in said.values()),
        in_doubt=in_doubt,
        in_doubt_with_ticket=sum(effects[ref] > 0 for ref in in_doubt),
        failed=dict(Counter(failed.values())),
        failed_with_ticket=dict(Counter(why for ref, why in failed.items() if effects[ref])),
        unfinished=[ref for ref, why in said.items() if why == UNFINISHED],
        posts=len(record.requests()),
        looks=record.listings(),
        faults=dict(faults),
        seconds=round(seconds, 1),
    )


def show(kind: Round, plan: Plan, tallies: Sequence[Tally], console: Console) -> None:
    """One table for a round: a line for each figure, a column for each side."""
    table = Table(title=f"{kind.title} (seed {plan.seed})", title_justify="left")
    table.add_column("what")
    for each in tallies:
        table.add_column(_TITLES[each.side], justify="right")
    for title, cells in _lines(tallies):
        table.add_row(title, *cells)
    console.print(table)
    for each in tallies:
        if each.in_doubt:
            more = len(each.in_doubt) - _SHOWN
            listed = ", ".join(each.in_doubt[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
            console.print(f"open reviews in doubt: {listed}")


def _lines(tallies: Sequence[Tally]) -> Iterable[tuple[str, list[str]]]:
    """Each line's title, and its cell for every side."""
    yield "tickets asked for", [str(each.asked) for each in tallies]
    yield "  requests of their clients", [str(each.asks) for each in tallies]
    yield "tickets created", [str(each.tickets) for each in tallies]
    yield "duplicates", [_duplicates(each) for each in tallies]
    yield "lost", [str(len(each.lost)) for each in tallies]
    yield "succeeded", [str(each.succeeded) for each in tallies]
    yield "in doubt, listed", [str(len(each.in_doubt)) for each in tallies]
    yield "  whose ticket exists", [str(each.in_doubt_with_ticket) for each in tallies]
    for why in sorted({why for each in tallies for why in each.failed}):
        yield f"failed: {why}", [str(each.failed.get(why, 0)) for each in tallies]
        cells = [str(each.failed_with_ticket.get(why, 0)) for each in tallies]
        yield "  whose ticket exists", cells
    yield "never answered", [str(len(each.unfinished)) for each in tallies]
    yield "POSTs the desk saw", [str(each.posts) for each in tallies]
    yield "  look-ups", [str(each.looks) for each in tallies]
    for fault in sorted({fault for each in tallies for fault in each.faults}):
        yield f"  answered with {fault}", [str(each.faults.get(fault, 0)) for each in tallies]
    yield "seconds", [f"{each.seconds:.0f}" for each in tallies]


def _duplicates(each: Tally) -> str:
    return f"{each.duplicates} for {each.twice} of them" if each.duplicates else "0"
