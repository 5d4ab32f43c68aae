"""What a report is made of: bars, histograms and tables as HTML, with every text escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from producer.tables import legible

_SHOWN_CHARS = 400


class Html(str):
    """Text that is HTML already; everything else is escaped where it is put in."""

    __slots__ = ()


class Part(NamedTuple):
    """One colour of a bar."""

    style: str
    name: str
    tickets: int


def text(value: object, limit: int = _SHOWN_CHARS) -> Html:
    """Text from outside, harmless in any place, at most `limit` characters of it."""
    if isinstance(value, Html):
        return value
    shown = legible(str(value))
    return Html(escape(shown if len(shown) <= limit else shown[:limit] + " …"))


def quoted(value: object, limit: int = _SHOWN_CHARS) -> Html:
    """The same; its writing direction does not spill over, and line breaks are spaces."""
    return Html(f"<bdi>{text(' '.join(str(value).split()), limit)}</bdi>")


def track(parts: Sequence[Part], of: int) -> Html:
    """A bar in several colours, `of` being its full length."""
    pieces = "".join(
        f'<i class="{part.style}" style="width:{100 * part.tickets / max(of, 1):.2f}%"'
        f' title="{text(part.name)}: {part.tickets:,}"></i>'
        for part in parts
        if part.tickets
    )
    return Html(f'<div class="track">{pieces}</div>')


def legend(parts: Iterable[Part]) -> Html:
    shown = "".join(
        f'<span><i class="{part.style}"></i>{text(part.name)} {part.tickets:,}</span>'
        for part in parts
        if part.tickets
    )
    return Html(f'<div class="legend">{shown}</div>')


def bars(named: Iterable[tuple[str, Sequence[Part]]], total: int) -> Html:
    """One bar for each name, the longest over the whole width, with its share of `total`."""
    rows = sorted(named, key=lambda row: -sum(part.tickets for part in row[1]))
    longest = max((sum(part.tickets for part in parts) for _, parts in rows), default=1)
    shown = []
    for name, parts in rows:
        count = sum(part.tickets for part in parts)
        shown.append(
            f'<div class="bar"><span class="name" title="{text(name)}">{words(name)}</span>'
            f"{track(parts, longest)}"
            f'<span class="count">{count:,} <small>{count / max(total, 1):.0%}</small></span></div>'
        )
    return Html("".join(shown))


def histogram(bins: Sequence[Sequence[Part]], low: str, high: str) -> Html:
    """Upright bars side by side; each bin is a list of parts, the topmost first."""
    most = max((sum(part.tickets for part in parts) for parts in bins), default=0)
    columns = []
    for place, parts in enumerate(bins):
        start, end = 100 * place / len(bins), 100 * (place + 1) / len(bins)
        told = ", ".join(f"{part.name} {part.tickets:,}" for part in parts if part.tickets)
        pieces = "".join(
            f'<i class="{part.style}" style="height:{100 * part.tickets / max(most, 1):.2f}%"></i>'
            for part in parts
            if part.tickets
        )
        title = f"{start:.0f} to {end:.0f} %: {told or 'none'}"
        columns.append(f'<div title="{text(title)}">{pieces}</div>')
    axis = "".join(f"<span>{text(each)}</span>" for each in (low, "50 %", high))
    return Html(f'<div class="histogram">{"".join(columns)}</div><div class="axis">{axis}</div>')


def table(head: Sequence[str], rows: Iterable[Sequence[object]], more: int = 0) -> Html:
    """A column whose name begins with `#` is of numbers; with `=`, it is never broken."""
    styles = [{"#": ' class="number"', "=": ' class="id"'}.get(name[:1], "") for name in head]
    titles = "".join(
        f"<th{style if 'number' in style else ''}>{text(name.lstrip('#='))}</th>"
        for name, style in zip(head, styles, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{s}>{text(cell)}</td>" for s, cell in zip(styles, row, strict=True))
        + "</tr>"
        for row in rows
    )
    rest = f'<p class="soft">and {more:,} more, all in triage.csv</p>' if more > 0 else ""
    return Html(
        f'<div class="scroll"><table><thead><tr>{titles}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{rest}"
    )


def section(title: str, *parts: str, long: bool = False) -> Html:
    style = ' class="long"' if long else ""
    return Html(f"<section{style}><h2>{text(title)}</h2>{''.join(parts)}</section>")


def words(name: str) -> Html:
    """`account_access` as people write it."""
    return text(name.replace("_", " "))
