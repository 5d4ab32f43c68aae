"""The one way out over HTTP, and the one mapping from what comes back to a `ToolError`.

Before bytes were sent everything is `Unavailable`: nothing can have happened. Afterwards:

    answer                        a read            a write
    2xx, 409                      the reply         the reply; a 409 is the tool's to judge
    2xx, no JSON or too large     Rejected          Ambiguous: done, in words we cannot read
    307, 308                      Rejected          Rejected: to be done elsewhere
    300 to 306                    Rejected          Ambiguous: a form that was taken says so too
    401, 403                      Rejected          Rejected, both as tool_auth_failed
    429, 503                      Unavailable       Unavailable, both with Retry-After
    408, other 5xx                Unavailable       Ambiguous
    reset, half answer, timeout   Unavailable       Ambiguous
    other 4xx                     Rejected          Rejected
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson
from pydantic import SecretStr
from yarl import URL

from models.run import StopReason
from tools.line import Sending, close, line, never_again
from tools.tool import Ambiguous, Call, Rejected, ToolError, Unavailable

__all__ = ["Reply", "Wire", "close", "retry_after_s"]

BODY_LIMIT_BYTES = 1024 * 1024
RETRY_AFTER_LIMIT_S = 3600.0
"""A target that asks for more patience than this is asked again after it."""
EXCERPT_CHARACTERS = 160


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that a tool may use: a 2xx, or a 409."""

    status: int
    headers: Mapping[str, str]
    body: Any
    """Parsed JSON; None when the body was empty, or was a 409's that is no JSON."""


class Wire:
    """The connection to one target: where it is, and who we are there."""

    def __init__(
        self,
        base_url: str,
        *,
        login: tuple[str, SecretStr] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._base = URL(base_url)
        if self._base.scheme not in {"http", "https"} or self._base.user or self._base.password:
            raise ValueError("a target needs an http(s) URL, and its login apart from the URL")
        self._headers = {
            **(headers or {}),
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
        }
        self._secrets: tuple[str, ...] = ()
        if login is not None:
            user, password = login[0], login[1].get_secret_value()
            self._headers["Authorization"] = aiohttp.encode_basic_auth(user, password)
            self._secrets = (self._headers["Authorization"].split()[-1], password)

    async def send(
        self,
        method: str,
        path: str,
        *,
        call: Call,
        writes: bool,
        query: Mapping[str, str] | None = None,
        json: Any = None,
    ) -> Reply:
        """Send one request and take its answer, within what the call's clocks leave.

        A write is one HTTP request: not resent, not redirected, not repeated for the same call.

        Raises:
            ToolError: As the table on top of this file says.
            RuntimeError: A second write for one call; each try needs a call of its own.
        """
        url, way = self._base.joinpath(path), line()
        leaving = Sending(call, way, f"{method} {url}", writes, has_body=json is not None)
        wrote_before = way.wrote(call)
        try:
            return await self._exchange(leaving, method, url, query=query, json=json)
        except (Unavailable, Rejected) as error:
            if not wrote_before:
                raise
            # Whatever became of this one, the call may have had its effect: not to be repeated.
            told = f"{error} An earlier request of the same call had left."
            raise Ambiguous(told, reason=error.reason) from error

    async def _exchange(
        self,
        leaving: Sending,
        method: str,
        url: URL,
        *,
        query: Mapping[str, str] | None,
        json: Any,
    ) -> Reply:
        leaving.refuse_when_late()
        key = {"Idempotency-Key": leaving.call.key} if leaving.writes else {}
        try:
            async with leaving.line.session.request(
                method,
                url,
                params=query,
                data=None if json is None else orjson.dumps(json),
                headers=self._headers | key,
                allow_redirects=False,
                timeout=leaving.clocks(),
                middlewares=(never_again,) if leaving.writes else (),
                trace_request_ctx=leaving,
            ) as response:
                return await self._judge(response, leaving)
        except (aiohttp.ClientError, OSError) as error:
            raise self._unanswered(error, leaving) from error

    async def _judge(self, response: aiohttp.ClientResponse, leaving: Sending) -> Reply:
        conflict = response.status == HTTPStatus.CONFLICT
        if response.status >= HTTPStatus.MULTIPLE_CHOICES and not conflict:
            said = self._excerpt(f"{response.reason}: {await _glimpse(response)}")
            refusal = _refused(
                response, leaving, f"{leaving.what} answered {response.status} {said}."
            )
            refusal.status = response.status
            raise refusal
        raw = bytearray()
        async for chunk in response.content.iter_chunked(64 * 1024):
            raw += chunk
            if len(raw) > BODY_LIMIT_BYTES:
                raise _unreadable(leaving, f"its answer is larger than {BODY_LIMIT_BYTES} bytes")
        try:
            body = orjson.loads(raw) if raw else None
        except orjson.JSONDecodeError:
            if not conflict:
                raise _unreadable(leaving, "its answer is no JSON") from None
            body = None
        return Reply(response.status, response.headers, body)

    def _unanswered(self, error: Exception, leaving: Sending) -> Exception:
        if leaving.refusal is not None:
            return leaving.refusal
        late = isinstance(error, TimeoutError)
        reason = StopReason.TOOL_TIMEOUT if late else StopReason.TOOL_FAILED
        said = "it took too long" if late else self._excerpt(str(error)) or type(error).__name__
        if not leaving.left:
            return Unavailable(f"{leaving.what} was not sent: {said}.", reason=reason)
        return _doubt(leaving, f"{leaving.what} got no whole answer: {said}.", reason)

    def _excerpt(self, text: str) -> str:
        """One short line that a person may read: no control characters, none of our secrets."""
        for secret in filter(None, self._secrets):
            text = text.replace(secret, "***")
        words = "".join(c if c.isprintable() else " " for c in text).split()
        return " ".join(words)[:EXCERPT_CHARACTERS].rstrip(" .:")


async def _glimpse(response: aiohttp.ClientResponse) -> str:
    """The beginning of an error's body. Its status counts whether or not that can be read."""
    try:
        return (await response.content.read(4096)).decode(errors="replace")
    except (aiohttp.ClientError, OSError):
        return ""


def _refused(response: aiohttp.ClientResponse, leaving: Sending, message: str) -> ToolError:
    status = response.status
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        limited = status == HTTPStatus.TOO_MANY_REQUESTS
        reason = StopReason.TOOL_RATE_LIMIT if limited else StopReason.TOOL_FAILED
        after = retry_after_s(response.headers.get("Retry-After", ""), datetime.now(UTC))
        return Unavailable(message, retry_after_s=after, reason=reason)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return Rejected(message, reason=StopReason.TOOL_AUTH_FAILED)
    if status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.GATEWAY_TIMEOUT}:
        return _doubt(leaving, message, StopReason.TOOL_TIMEOUT)
    refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    moved = {HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT}
    if refused or status in moved or (status < HTTPStatus.BAD_REQUEST and not leaving.writes):
        return Rejected(message)
    return _doubt(leaving, message, StopReason.TOOL_FAILED)


def _doubt(leaving: Sending, message: str, reason: StopReason) -> ToolError:
    """It left us; whether it had an effect is only a question when it writes."""
    return (Ambiguous if leaving.writes else Unavailable)(message, reason=reason)


def _unreadable(leaving: Sending, why: str) -> ToolError:
    """A yes that cannot be used. A look-up finds what a write left; a read would fail again."""
    said = f"{leaving.what} was accepted, but {why}."
    return (Ambiguous if leaving.writes else Rejected)(said, reason=StopReason.TOOL_OUTPUT_INVALID)


def retry_after_s(header: str, now: datetime) -> float | None:
    """Seconds to wait, from a number or a date; None when it is neither."""
    value = header.strip()
    if value.isascii() and value.replace(".", "", 1).isdecimal():
        return min(float(value), RETRY_AFTER_LIMIT_S)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), RETRY_AFTER_LIMIT_S)
