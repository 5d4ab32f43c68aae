"""What an answer that says no means, over HTTP: the one mapping from it to a `ToolError`.

answer                        a read            a write
2xx, no JSON or too large     Rejected          Ambiguous: done, in words we cannot read
307, 308                      Rejected          Rejected: to be done elsewhere
300 to 306                    Rejected          Ambiguous: a form that was taken says so too
401, 403                      Rejected          Rejected, both as tool_auth_failed
429, 503                      Unavailable       Unavailable, both with Retry-After
408, other 5xx                Unavailable       Ambiguous
reset, half answer, timeout   Unavailable       Ambiguous
other 4xx                     Rejected          Rejected
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from models.run import StopReason
from tools.tool import Ambiguous, Rejected, ToolError, Unavailable
from tools.veil import Veil

RETRY_AFTER_LIMIT_S = 3600.0
"""A target that asks for more patience than this is asked again after it."""
EXCERPT_CHARACTERS = 160


def refused(status: int, headers: Mapping[str, str], message: str, *, writes: bool) -> ToolError:
    """What a status says that is no answer."""
    refusal = _refused(status, headers, message, writes=writes)
    refusal.status = status
    return refusal


def _refused(status: int, headers: Mapping[str, str], message: str, *, writes: bool) -> ToolError:
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        limited = status == HTTPStatus.TOO_MANY_REQUESTS
        reason = StopReason.TOOL_RATE_LIMIT if limited else StopReason.TOOL_FAILED
        after = retry_after_s(headers.get("Retry-After", ""), datetime.now(UTC))
        return Unavailable(message, retry_after_s=after, reason=reason)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return Rejected(message, reason=StopReason.TOOL_AUTH_FAILED)
    if status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.GATEWAY_TIMEOUT}:
        return doubt(message, StopReason.TOOL_TIMEOUT, writes=writes)
    no = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    moved = {HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT}
    if no or status in moved or (status < HTTPStatus.BAD_REQUEST and not writes):
        return Rejected(message)
    return doubt(message, StopReason.TOOL_FAILED, writes=writes)


def doubt(message: str, reason: StopReason, *, writes: bool) -> ToolError:
    """It left us; whether it had an effect is only a question when it writes."""
    return (Ambiguous if writes else Unavailable)(message, reason=reason)


def unreadable(what: str, why: str, *, writes: bool) -> ToolError:
    """A yes that cannot be used. A look-up finds what a write left; a read fails again."""
    kind = Ambiguous if writes else Rejected
    return kind(f"{what} was accepted, but {why}.", reason=StopReason.TOOL_OUTPUT_INVALID)


def excerpt(text: str, secrets: Iterable[str] = ()) -> str:
    """One short line that a person may read: no control characters, none of our secrets."""
    for secret in filter(None, secrets):
        text = Veil(secret).over(text)
    words = "".join(c if c.isprintable() else " " for c in text).split()
    return " ".join(words)[:EXCERPT_CHARACTERS].rstrip(" .:")


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
