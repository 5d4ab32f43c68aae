"""Markup: the paragraphs of a page of HTML, in one pass over whatever a stranger has written.

Not by `html.parser`: of a tag that never ends it reads the rest again for every such tag, so that a
page of 40 kB may hold a worker for twelve seconds.
"""

import re
from html import unescape
from typing import NamedTuple

from tools.tickets.form import one_line

_UNSEEN = frozenset({"script", "style", "noscript", "template", "svg", "iframe", "textarea"})
"""What stands between these tags nobody reads on a page."""
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "br", "caption", "dd", "details", "div",
    "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5",
    "h6", "head", "header", "hr", "html", "li", "main", "nav", "ol", "p", "pre", "section",
    "summary", "table", "tbody", "td", "tfoot", "th", "thead", "title", "tr", "ul",
})  # fmt: skip
"""Tags that end a paragraph."""
_NAME = re.compile(r"/?([a-zA-Z][a-zA-Z0-9-]{0,40})")
_ENDLESS_NUMBER = re.compile(r"&#[xX]?[0-9a-fA-F]{8,}")
"""No character has such a number, and Python refuses to read the longest ones."""


class Text(NamedTuple):
    """What somebody who looks at the page reads."""

    title: str
    paragraphs: list[str]


def paragraphs(page: str) -> Text:
    """The text of a page, each paragraph on one line, and its title.

    Takes time by the length of the page, whatever is in it.
    """
    found: list[str] = []
    title, here, at = "", [], 0
    while at < len(page):
        opens = page.find("<", at)
        here.append(page[at : opens if opens >= 0 else len(page)])
        if opens < 0:
            break
        name, at = _tag(page, opens)
        if not name:
            here.append(page[opens:at])
        elif name.lstrip("/") in _BLOCKS:
            said = _said(here)
            if name == "/title":
                title = title or said
            elif said:
                found.append(said)
            here = []
        elif name in _UNSEEN:
            closes = re.compile(f"</{name}", re.IGNORECASE).search(page, at)
            at = closes.start() if closes else len(page)
    last = _said(here)
    return Text(title, [*found, last] if last else found)


def _tag(page: str, opens: int) -> tuple[str, int]:
    """The name of the tag that begins here, and where it ends; "" for a sign that begins none."""
    if page.startswith("<!--", opens):
        ends = page.find("-->", opens + 4)
        return "!", ends + 3 if ends >= 0 else len(page)
    name = _NAME.match(page, opens + 1)
    if name is None and not page.startswith(("<!", "<?"), opens):
        return "", opens + 1
    ends = page.find(">", opens)
    said = name[0].lower() if name else "!"
    return said, ends + 1 if ends >= 0 else len(page)


def _said(parts: list[str]) -> str:
    return one_line(unescape(_ENDLESS_NUMBER.sub("", "".join(parts))))
