"""The report's lists: what went to review and why, what failed or was left out, some answers."""

from collections.abc import Sequence

from producer.report_parts import Html, quoted, section, table, text, words
from producer.triage import Outcome
from producer.triage_results import Result
from producer.triage_tally import Listed, Tally

_REASONS = 12
_REPLY_CHARS = 1_200
_UNFOLDED = 12


def lists(tally: Tally) -> list[Html]:
    """Those of the sections that have something to say."""
    shown = [
        _failed(tally),
        _plain_list(tally, Outcome.HELD, "Held, not finished yet"),
        _plain_list(tally, Outcome.REJECTED, "Rejected by a person"),
        _plain_list(
            tally,
            Outcome.CHANGED,
            "Changed since it was triaged, and left alone",
            "<code>--again NAME</code> goes over the backlog once more, under that name.",
        ),
        _plain_list(tally, Outcome.REFUSED, "Refused"),
        _plain_list(tally, Outcome.LEFT_OUT, "Rows left out", "Mend them and run again."),
        _plain_list(tally, Outcome.DUPLICATE, "The same row twice", "One ticket each."),
        _reviews(tally),
        _answers(tally),
    ]
    return [each for each in shown if each]


def _reviews(tally: Tally) -> Html:
    listed = tally.listed[Outcome.TO_REVIEW]
    if not listed.count:
        return Html("")
    reasons = table(
        ["why", "#tickets"],
        [(quoted(why), f"{count:,}") for why, count in tally.reasons.most_common(_REASONS)],
    )
    return section(
        f"{listed.count:,} to review, and why",
        "<p class='soft'>A person is asked; each has a drafted answer. <code>sluice reviews</code>"
        " lists them, <code>sluice answer</code> decides them, and <code>sluice triage</code> run"
        " again completes them.</p>",
        reasons,
        "<h3>Tickets, each with what is proposed and how sure it was</h3>",
        _folded([_review(each) for each in listed]),
        f"<p class='soft'>and {listed.more:,} more, all in triage.csv</p>" if listed.more else "",
        long=True,
    )


def _review(each: Result) -> str:
    ticket = each.row.ticket
    sure = f"{each.confidence:.0%}" if each.confidence is not None else ""
    return (
        f"<details><summary class='line'><span class='id'>{text(ticket.id)}</span>"
        f"<span>{quoted(ticket.subject or ticket.text, 120)}</span>"
        f"<span class='soft'>{words(each.category)}</span><span class='number'>{sure}</span>"
        f"</summary><p>{quoted(ticket.text, 600)}</p>"
        f"<p class='soft'>{quoted('. '.join(filter(None, (each.why, each.because))), 400)}</p>"
        f"{_draft(each)}</details>"
    )


def _folded(shown: list[str]) -> str:
    """The first few, the rest behind one more click."""
    rest = "".join(shown[_UNFOLDED:])
    more = f"<details><summary>{len(shown) - _UNFOLDED:,} more</summary>{rest}</details>"
    return "".join(shown[:_UNFOLDED]) + (more if rest else "")


def _failed(tally: Tally) -> Html:
    listed = tally.listed[Outcome.FAILED]
    if not listed.count:
        return Html("")
    reasons = [(words(why), f"{count:,}") for why, count in tally.failures.most_common(_REASONS)]
    return section(
        f"{listed.count:,} failed",
        "<p class='soft'>A failure stands under its key. <code>--again NAME</code> tries once more,"
        " and what is at the desk already is found there.</p>",
        table(["stop reason", "#tickets"], reasons),
        "<h3>Tickets</h3>",
        _rows(listed),
        long=True,
    )


def _plain_list(tally: Tally, outcome: Outcome, title: str, hint: str = "") -> Html:
    listed = tally.listed[outcome]
    if not listed.count:
        return Html("")
    return section(
        f"{title}: {listed.count:,}",
        f"<p class='soft'>{hint}</p>" if hint else "",
        _rows(listed),
        long=True,
    )


def _rows(listed: Listed) -> Html:
    rows: list[Sequence[object]] = [
        (each.row.place, each.row.ticket.id, quoted(each.why)) for each in listed
    ]
    return table(["=where", "=ticket", "why"], rows, listed.more)


def _answers(tally: Tally) -> Html:
    shown = "".join(
        _answer(each) for name in sorted(tally.examples) for each in tally.examples[name]
    )
    if not shown:
        return Html("")
    return section("Some of the drafted answers", shown, long=True)


def _answer(each: Result) -> str:
    ticket = each.row.ticket
    return (
        f"<details><summary>{quoted(ticket.subject or ticket.text, 120)}"
        f" <small>{words(each.category)} · {text(ticket.id)}</small></summary>"
        f"<p>{quoted(ticket.text, 600)}</p>{_draft(each)}</details>"
    )


def _draft(each: Result) -> str:
    if not each.reply:
        return ""
    names = ", ".join(str(article.get("title", "")) for article in each.articles)
    sources = f"<p class='soft'>from {quoted(names, 300)}</p>" if names else ""
    return f"<blockquote dir='auto'>{text(each.reply, _REPLY_CHARS)}</blockquote>{sources}"
