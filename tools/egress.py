"""Egress: what is read from places that came with a call's arguments, and not from an operator.

Such a URL is judged by the policy: its host by the tool's own list, which is empty unless somebody
has filled it, and the address it leads to by tools/border.py. Only GET, without any login of ours.
Redirects are followed, for the open web is full of them, and each is judged like the first.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson
from yarl import URL

from models.run import StopReason
from tools.answers import refused
from tools.border import Passport, crossing, site_of
from tools.line import Sending, body_within, line, until
from tools.tool import Call, Rejected

REDIRECTS = 5
_MOVED = {
    HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.FOUND, HTTPStatus.SEE_OTHER,
    HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT,
}  # fmt: skip
_HEADERS = {
    "Accept": "application/json, text/*;q=0.9, application/xml;q=0.8, */*;q=0.1",
    "Accept-Encoding": "identity",  # a small answer must not grow past its limit
    "User-Agent": "sluice",
}
_CHARSETS = re.compile(
    r"us-ascii|iso-8859-(?:[1-9]|1[0-13-6])|latin-?1|windows-125[0-8]|utf-16(?:le|be)?"
    r"|shift_jis|euc-(?:jp|kr)|gbk|gb2312|gb18030|big5|koi8-[ru]"
)
"""Those of web pages, all read in one pass; others are read as UTF-8. Python has codecs that would
hold up the loop: the time that `punycode` takes grows with the square of a page."""
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was found, and where in the end. Whoever wrote it is nobody we know."""

    url: str
    kind: str
    """The media type that it was declared as."""
    body: Any
    """A text; of a JSON type, what it says."""


async def get(url: str, *, call: Call) -> Fetched:
    """Read one page of text or JSON, within the call's clocks and the policy's `egress`.

    Raises:
        Rejected: As tool_denied, naming the rule: the policy does not let this tool go there. As
            tool_output_invalid: it is too large, or neither text nor JSON.
        Unavailable: There was no whole answer in time.
    """
    over_at, here = until(call), _read(url)
    for _ in range(REDIRECTS + 1):
        answer = await _ask(here, call, over_at)
        if isinstance(answer, Fetched):
            return answer
        here = onward(here, answer)
    raise Rejected(f"GET {_told(here)} was not sent: there were {REDIRECTS} redirects before it.")


def onward(here: URL, there: URL) -> URL:
    """Where a redirect leads, if it may be looked at at all.

    Raises:
        Rejected: From an encrypted page to one that anybody on the way may have written.
    """
    if here.scheme == "https" and there.scheme == "http":
        raise _denied(there, f"{_told(here)} redirects to it, and it is not encrypted")
    return there


async def _ask(url: URL, call: Call, over_at: float) -> Fetched | URL:
    """The page, or where it has gone."""
    leaving = Sending(
        call, line(), f"GET {_told(url)}", writes=False, has_body=False,
        passport=_passport(url, call), until=over_at,
    )  # fmt: skip
    leaving.refuse_when_late()
    try:
        with crossing(leaving.passport):
            async with leaving.line.session.get(
                url,
                headers=_HEADERS,
                allow_redirects=False,  # each is judged before it is followed
                timeout=leaving.clocks(),
                trace_request_ctx=leaving,
            ) as response:
                if response.status in _MOVED and "Location" in response.headers:
                    return _read(response.headers["Location"], url)
                return await _judge(response, leaving)
    except (aiohttp.ClientError, OSError) as error:
        raise leaving.unanswered(error, type(error).__name__) from None  # its text is a stranger's


async def _judge(response: aiohttp.ClientResponse, leaving: Sending) -> Fetched:
    if response.status >= HTTPStatus.MULTIPLE_CHOICES:
        # Not in its own words: they are a stranger's.
        told = f"{leaving.what} answered {response.status}."
        raise refused(response.status, response.headers, told, writes=leaving.writes)
    kind = response.content_type
    packed = response.headers.get("Content-Encoding", "identity").lower() != "identity"
    if packed or not (_is_json(kind) or _is_text(kind)):
        raise leaving.unreadable("its answer is packed, or neither text nor JSON")
    raw = await body_within(response, leaving)
    if not _is_json(kind):
        charset = (response.charset or "").lower()
        known = charset if _CHARSETS.fullmatch(charset) else "utf-8"
        return Fetched(str(response.url), kind, raw.decode(known, "replace"))
    try:
        return Fetched(str(response.url), kind, orjson.loads(raw))
    except ValueError:
        raise leaving.unreadable(f"its answer is no JSON, though it says {kind}") from None


def _passport(url: URL, call: Call) -> Passport:
    """What the policy says of this place, before a name is looked up.

    Raises:
        Rejected: The tool may not go there.
    """
    try:
        host, port = site_of(url)
    except ValueError as error:
        raise _denied(url, str(error)) from None
    reach = call.egress
    if not reach.admits(host, port):
        named = f"egress.hosts of the policy does not name it for {call.tool or 'this tool'}"
        raise _denied(url, named)
    inside = reach.leads_inside(host, port)
    return Passport(host, inside, reach.networks, "no entry in egress.private")


def _read(written: str, base: URL | None = None) -> URL:
    """A URL as somebody wrote it, without its fragment.

    Raises:
        Rejected: It is none.
    """
    try:
        url = URL(written)
        return (url if base is None else base.join(url)).with_fragment(None)
    except ValueError:
        raise Rejected(
            "A URL that was to be read is none.", reason=StopReason.TOOL_DENIED
        ) from None


def _denied(url: URL, why: str) -> Rejected:
    told = f"GET {_told(url)} was not sent: {why}."
    return Rejected(told, reason=StopReason.TOOL_DENIED)


def _told(url: URL) -> str:
    """The place without what was asked there, and without a login."""
    plain = url.with_query(None)
    shown = str(plain.with_user(None) if plain.absolute else plain)
    return "".join(c for c in shown if c.isprintable())[:_SHOWN_CHARACTERS]


def _is_json(kind: str) -> bool:
    return kind == "application/json" or kind.endswith("+json")


def _is_text(kind: str) -> bool:
    return kind.startswith("text/") or kind == "application/xml" or kind.endswith("+xml")
