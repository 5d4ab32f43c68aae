"""report.html: what a triage came to, on one page that needs no network and runs no script."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from producer.report_lists import lists
from producer.report_parts import (
    Html,
    Part,
    bars,
    histogram,
    legend,
    section,
    text,
    track,
    words,
)
from producer.triage import Course, Outcome
from producer.triage_campaign import Autonomy, Campaign
from producer.triage_tally import BINS, Tally

_PAGE = Path(__file__).parent / "pages" / "report.html"
_OTHERS = (Outcome.REJECTED, Outcome.HELD, Outcome.CHANGED, Outcome.REFUSED)


def page(campaign: Campaign, tally: Tally, course: Course, file: str) -> str:
    """The whole report; nothing in it comes from outside unescaped."""
    body = [_hero(tally), _figures(tally, course)]
    if tally.categories:
        body += [_pair(_categories(tally), _confidence(tally)), _pair(*_small(tally))]
    body += lists(tally)
    return Template(_PAGE.read_text(encoding="utf-8")).substitute(
        title=text(f"Triage of {file}"),
        about=_about(campaign),
        body="\n".join(body),
        footer=_footer(campaign),
    )


def _about(campaign: Campaign) -> Html:
    now = datetime.now(UTC).astimezone()
    told = (
        "nothing outside was written"
        if campaign.autonomy is Autonomy.OBSERVE
        else "tickets were opened at the desk"
    )
    return Html(
        f'Campaign {text(campaign.told)} · <span class="chip">{text(campaign.autonomy)}</span>'
        f" {told} · {now:%d %B %Y, %H:%M %Z}"
    )


def _hero(tally: Tally) -> Html:
    person = tally.outcomes[Outcome.ANSWERED] - tally.by_itself
    parts = [
        Part("answered", "answered without a person", tally.by_itself),
        Part("person", "answered by a person", person),
        Part("to_review", "to review", tally.outcomes[Outcome.TO_REVIEW]),
        Part("failed", "failed", tally.outcomes[Outcome.FAILED]),
        Part("other", "other", sum(tally.outcomes[each] for each in _OTHERS)),
    ]
    share = tally.by_itself / tally.tickets if tally.tickets else 0
    return Html(
        f'<section class="hero"><div class="big">{share:.0%}</div><div class="rest">'
        f"<p>of {tally.tickets:,} tickets answered without a person</p>"
        f"{track(parts, tally.tickets)}{legend(parts)}</div></section>"
    )


def _figures(tally: Tally, course: Course) -> Html:
    seconds = course.seconds
    rate = f"{tally.tickets / seconds:,.0f} tickets/s" if seconds else ""
    bad = tally.outcomes[Outcome.LEFT_OUT]
    each = tally.spent_usd / max(tally.tickets, 1)
    shown = (
        (f"{tally.tickets:,}", f"tickets in {tally.rows:,} rows"),
        (f"{tally.outcomes[Outcome.TO_REVIEW]:,}", "wait for a person"),
        (f"{seconds:.1f} s", rate if not tally.known else f"{tally.known:,} known before"),
        (
            f"{tally.spent_usd:.2f} USD",
            f"{each:.5f} per ticket" if tally.spent_usd else "no paid model was asked",
        ),
        (f"{bad:,}", "row left out" if bad == 1 else "rows left out"),
    )
    cards = (f'<div class="figure"><b>{big}</b><span>{small}</span></div>' for big, small in shown)
    return Html(f'<div class="figures">{"".join(cards)}</div>')


def _pair(left: Html, right: Html) -> Html:
    return Html(f'<div class="two">{left}{right}</div>')


def _categories(tally: Tally) -> Html:
    total = sum(each.total() for each in tally.categories.values())
    rows = [(name, _two(each)) for name, each in tally.categories.items()]
    return section("Categories", bars(rows, total), legend(_totals(tally)))


def _two(counts: Counter[Outcome]) -> list[Part]:
    return [
        Part("answered", "answered", counts[Outcome.ANSWERED]),
        Part("to_review", "to review", counts[Outcome.TO_REVIEW]),
    ]


def _totals(tally: Tally) -> list[Part]:
    return _two(tally.outcomes)


def _confidence(tally: Tally) -> Html:
    answered, review = (tally.confidence[each] for each in (Outcome.ANSWERED, Outcome.TO_REVIEW))
    bins = [
        [Part("to_review", "to review", review[n]), Part("answered", "answered", answered[n])]
        for n in range(BINS)
    ]
    return section(
        "How sure it was",
        histogram(bins, "0 % sure", "100 %"),
        legend(_totals(tally)),
    )


def _small(tally: Tally) -> tuple[Html, Html]:
    left = section("Queues", _plain_bars(tally.queues))
    parts = ["<h3>Decided by</h3>", _plain_bars(tally.deciders)] if tally.deciders else []
    if tally.actions:
        parts += ["<h3>At the desk</h3>", _plain_bars(tally.actions)]
    return left, section("Priorities", _plain_bars(tally.priorities), *parts)


def _plain_bars(counts: Counter[str]) -> Html:
    return bars(
        [(name, [Part("answered", name, count)]) for name, count in counts.items()],
        counts.total(),
    )


def _footer(campaign: Campaign) -> Html:
    act = (
        " Nothing was written outside; <code>--autonomy act</code> opens the tickets, each once."
        if campaign.autonomy is Autonomy.OBSERVE
        else ""
    )
    return Html(
        "<p><code>triage.csv</code> and <code>triage.jsonl</code> beside this page hold every row."
        " In the CSV file a cell that begins with = + - or @ has an apostrophe before it, so that"
        f" no spreadsheet takes it for a formula; the JSON Lines are untouched.{act}</p>"
        f"<p>{words('Made by Sluice.')} Running the same command again triages nothing twice.</p>"
    )
