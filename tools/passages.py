"""Passages: a long text in pieces that may each be shown, kept and pointed at."""

from collections.abc import Iterable

PASSAGE_CHARS = 700


def passages(paragraphs: Iterable[str]) -> list[str]:
    """Short paragraphs together, long ones apart, in their order; none longer than its limit."""
    found: list[str] = []
    here = ""
    for each in paragraphs:
        rest = each
        while rest:
            if here and len(here) + 1 + len(rest) > PASSAGE_CHARS:
                found.append(here)
                here = ""
            piece, rest = _cut(rest)
            here = f"{here} {piece}" if here else piece
    return [*found, here] if here else found


def _cut(text: str) -> tuple[str, str]:
    """What fits, up to the end of a word, and what is left over."""
    if len(text) <= PASSAGE_CHARS:
        return text, ""
    at = text.rfind(" ", PASSAGE_CHARS // 2, PASSAGE_CHARS)
    at = at if at > 0 else PASSAGE_CHARS
    return text[:at], text[at:].lstrip()
