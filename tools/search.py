"""Search: where something may be read about a question.

In the knowledge base; or, where an operator has named one, at a search engine that answers as
SearXNG does: GET /search?q=...&format=json gives {"results": [{"url", "title", "content"}]}.
"""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from config.settings import settings
from models.run import StopReason
from tools import connection, kb
from tools.http import Wire
from tools.tickets.form import one_line
from tools.tool import Call, Contract, Effect, Rejected, tool
from tools.trust import Trust

CONNECTION = "search"
KB = "kb:"
"""Addresses of articles: `kb:where-is-my-parcel.md`."""
URL_CHARS = 2_000
_QUERY_CHARS, _TITLE_CHARS, _EXCERPT_CHARS = 300, 200, 400
_FOUND = 6


class Query(Contract):
    query: Annotated[str, StringConstraints(strip_whitespace=True, min_length=2)] = Field(
        max_length=_QUERY_CHARS
    )


class Hit(Contract):
    url: str = Field(max_length=URL_CHARS)
    """For `page.read`."""
    title: str = Field(max_length=_TITLE_CHARS)
    excerpt: str = Field(max_length=_EXCERPT_CHARS)


class Hits(Contract):
    hits: tuple[Hit, ...] = Field(max_length=_FOUND)


@tool(
    "search.read",
    effect=Effect.READ,
    timeout_s=10,
    sinks={"/query": Trust.UNTRUSTED},
    trusted=("/hits/*/url",),
)
async def search(args: Query, call: Call) -> Hits:
    """Find addresses of pages that have to do with a few words."""
    own = settings().search
    login = ("", own.key) if own.key.get_secret_value() else None
    default = Wire(str(own.url), login=login) if own.url else None
    engine = await connection.wire(call, CONNECTION, default=default)
    if engine is None:
        return Hits(hits=await _articles(args.query))
    asked = {"q": args.query, "format": "json"}
    reply = await engine.send("GET", "search", call=call, writes=False, query=asked)
    return Hits(hits=_results(reply.body))


async def _articles(query: str) -> tuple[Hit, ...]:
    found = await kb.base().search(one_line(query))
    return tuple(
        Hit(
            url=f"{KB}{each.path}",
            title=each.title[:_TITLE_CHARS],
            excerpt=each.excerpt[:_EXCERPT_CHARS],
        )
        for each in found
        if len(each.path) + len(KB) <= URL_CHARS
    )


def _results(body: Any) -> tuple[Hit, ...]:
    """Those that lead to a web page: what an engine lists gives nobody a place of ours."""
    listed = body.get("results") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        told = "The search engine's answer has no list of results."
        raise Rejected(told, reason=StopReason.TOOL_OUTPUT_INVALID)
    hits = [_hit(each) for each in listed if isinstance(each, dict)]
    return tuple([each for each in hits if each is not None][:_FOUND])


def _hit(result: dict[str, Any]) -> Hit | None:
    url = result.get("url")
    if not (isinstance(url, str) and url.isprintable() and len(url) <= URL_CHARS):
        return None
    if not url.startswith(("https://", "http://")):
        return None
    title, excerpt = (one_line(str(result.get(name) or "")) for name in ("title", "content"))
    return Hit(url=url, title=title[:_TITLE_CHARS], excerpt=excerpt[:_EXCERPT_CHARS])
