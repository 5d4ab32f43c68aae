"""A page: what somebody has published at an address, as plain passages; or an article of ours.

Whoever wrote it is nobody we know. An address of the web is asked through tools/egress.py alone:
where the policy lets this tool go, by GET, without a login.
"""

import asyncio
from typing import Annotated, Any

import orjson
from pydantic import Field

from models.run import StopReason
from tools import egress, kb
from tools.markup import Text, paragraphs
from tools.passages import PASSAGE_CHARS, passages
from tools.search import KB, URL_CHARS
from tools.tickets.form import one_line
from tools.tool import Call, Contract, Effect, Rejected, tool
from tools.trust import Trust

_TITLE_CHARS = 200
_SHOWN = 4
"""Passages at a time: who wants more reads the next part."""
_PARTS = 50


class Address(Contract):
    url: str = Field(min_length=1, max_length=URL_CHARS)
    part: int = Field(default=1, ge=1, le=_PARTS)
    """A long page is read part by part."""


class Page(Contract):
    url: str = Field(max_length=URL_CHARS)
    title: str = Field(max_length=_TITLE_CHARS)
    passages: tuple[Annotated[str, Field(max_length=PASSAGE_CHARS)], ...] = Field(max_length=_SHOWN)
    part: int = Field(ge=1, le=_PARTS)
    parts: int = Field(ge=1, le=_PARTS)


@tool(
    "page.read",
    effect=Effect.READ,
    timeout_s=20,
    sinks={"/url": Trust.ENDORSED, "/part": Trust.UNTRUSTED},
)
async def page(args: Address, call: Call) -> Page:
    """Read what stands at an address that a search has found, one part of it at a time."""
    text = await (_article(args.url) if args.url.startswith(KB) else _fetched(args.url, call))
    pieces = await asyncio.to_thread(passages, text.paragraphs)
    parts = min(max(1, -(-len(pieces) // _SHOWN)), _PARTS)
    if args.part > parts:
        raise Rejected(f"The page has {parts} parts.")
    first = (args.part - 1) * _SHOWN
    return Page(
        url=args.url,
        title=text.title[:_TITLE_CHARS],
        passages=tuple(pieces[first : first + _SHOWN]),
        part=args.part,
        parts=parts,
    )


async def _article(url: str) -> Text:
    found = await kb.base().article(url.removeprefix(KB)) if url.isprintable() else None
    if found is None:
        raise Rejected("The knowledge base has no such article.")
    title, body = found
    return Text(title, _plain(body))


async def _fetched(url: str, call: Call) -> Text:
    found = await egress.get(url, call=call)
    text = await asyncio.to_thread(_read, found.kind, found.body)
    if not text.paragraphs:
        raise Rejected("There is no text on the page.", reason=StopReason.TOOL_OUTPUT_INVALID)
    return text


def _read(kind: str, body: Any) -> Text:
    if not isinstance(body, str):
        return Text("", [one_line(orjson.dumps(body).decode())])
    if "html" in kind or "xml" in kind:
        return paragraphs(body)
    return Text("", _plain(body))


def _plain(text: str) -> list[str]:
    lines = (one_line(each) for each in text.split("\n\n"))
    return [each for each in lines if each]
