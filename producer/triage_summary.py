"""What a triage came to, as a table on the terminal."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from producer.tables import plain
from producer.triage import Course, Outcome
from producer.triage_campaign import Autonomy, Campaign
from producer.triage_results import Result
from producer.triage_tally import Tally

_SHOWN = 10
_TOLD = (Outcome.LEFT_OUT, Outcome.REFUSED, Outcome.CHANGED, Outcome.FAILED)
_WORDS = {
    Outcome.TO_REVIEW: "to review: a person is asked",
    Outcome.REJECTED: "rejected by a person",
    Outcome.FAILED: "failed",
    Outcome.HELD: "held: not finished yet",
    Outcome.CHANGED: "changed since, left alone",
    Outcome.REFUSED: "refused",
    Outcome.LEFT_OUT: "rows left out",
    Outcome.DUPLICATE: "the same row twice",
}


def summarise(
    console: Console, campaign: Campaign, tally: Tally, course: Course, folder: Path
) -> None:
    """The table, what was wrong, and what to do next."""
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.title = Text(f"Campaign {plain(campaign.told)} ({campaign.autonomy})")
    table.add_column("what")
    table.add_column("tickets", justify="right")
    table.add_column("share", justify="right")
    _add(table, "answered without a person", tally.by_itself, tally.tickets)
    _add(table, "answered by a person", tally.outcomes[Outcome.ANSWERED] - tally.by_itself, 0)
    for outcome, words in _WORDS.items():
        share = tally.tickets if outcome is Outcome.TO_REVIEW else 0
        _add(table, words, tally.outcomes[outcome], share)
    table.add_section()
    _add(table, "already known before", tally.known, 0, always=True)
    for action in ("opened", "already_there"):
        _add(table, f"at the desk: {action.replace('_', ' ')}", tally.actions[action], 0)
    console.print(table)
    rate = f", {tally.tickets / course.seconds:,.0f} tickets/s" if course.seconds else ""
    console.print(f"{course.seconds:.1f} s{rate}, {tally.spent_usd:.4f} USD", highlight=False)
    for outcome in _TOLD:
        _tell(console, tally, outcome)
    _next(console, campaign, tally, folder)


def _add(table: Table, what: str, count: int, of: int, *, always: bool = False) -> None:
    if count or always:
        table.add_row(what, f"{count:,}", f"{count / of:.0%}" if of else "")


def _tell(console: Console, tally: Tally, outcome: Outcome) -> None:
    listed = tally.listed[outcome]
    for each in listed.first[:_SHOWN]:
        console.print(Text(_line(each)), soft_wrap=True)
    if (rest := listed.count - _SHOWN) > 0:
        console.print(f"... and {rest:,} more like these, all in triage.csv", highlight=False)


def _line(result: Result) -> str:
    ticket = f" ticket {plain(result.row.ticket.id)}:" if result.row.ticket.id else ":"
    return f"{result.row.place}{ticket} {plain(result.why).replace(chr(10), ' ')}"


def _next(console: Console, campaign: Campaign, tally: Tally, folder: Path) -> None:
    hints = [("report", f"{folder / 'report.html'}, and triage.csv and triage.jsonl beside it")]
    if tally.outcomes[Outcome.TO_REVIEW]:
        hints.append(("review", "`sluice reviews`, then `sluice answer`, then this command again"))
    if tally.outcomes[Outcome.CHANGED] or tally.outcomes[Outcome.FAILED]:
        hints.append(("again", "`--again NAME` goes over the backlog once more, under that name"))
    if campaign.autonomy is Autonomy.OBSERVE:
        hints.append(("write", "nothing was written outside; `--autonomy act` opens the tickets"))
    for name, words in hints:
        console.print(f"{name:<8} {words}", highlight=False, markup=False, soft_wrap=True)
