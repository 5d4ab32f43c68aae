"""A failure of an endpoint: what may be done next, and whether it may have been billed.

connection refused, no free connection            Unavailable     free
429                                               Unavailable     free; tool_rate_limit, paces
503, 529, 500                                     Unavailable     free
502, 504, other 5xx, 408                          Unavailable     may have been billed
timeout, reset, half an answer                    Unavailable     may have been billed
2xx that is no completion                         Rejected        may have been billed
401, 403                                          Rejected        free; tool_auth_failed
402 or no quota, 404, 400, 413, redirects         Rejected        free; model_failed
"""

from http import HTTPStatus

from pydantic_ai.exceptions import (
    AgentRunError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelHTTPError,
    ModelQuotaExceededError,
    ModelTimeoutError,
)

from models.run import StopReason
from tools.answers import RETRY_AFTER_LIMIT_S, excerpt
from tools.llm.outcome import Failure
from tools.tool import Rejected, ToolError, Unavailable

_FREE = {HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE, 529}
_UNSENT = {"pool", "connect"}


def failure(error: AgentRunError, name: str, secret: str) -> Failure:
    """What an endpoint's failure means for the call."""
    status = _status(error)
    if isinstance(error, ModelConnectionError):
        late = isinstance(error, ModelTimeoutError)
        reason = StopReason.TOOL_TIMEOUT if late else StopReason.MODEL_FAILED
        told = f"{name} could not be asked: {excerpt(str(error), [secret])} ({error.phase})."
        return Failure(Unavailable(told, reason=reason), error.phase not in _UNSENT)
    if status is None or status < HTTPStatus.MULTIPLE_CHOICES:
        told = f"{name} answered with what is no completion: {excerpt(str(error), [secret])}."
        return Failure(Rejected(told, reason=StopReason.MODEL_FAILED), billed=True)
    told = f"{name} answered {status}: {excerpt(_said(error), [secret])}."
    found, billed = _of_status(error, status, told)
    found.status = status
    return Failure(found, billed)


def _of_status(error: AgentRunError, status: int, told: str) -> tuple[ToolError, bool]:
    if isinstance(error, ModelAuthenticationError):
        return Rejected(told, reason=StopReason.TOOL_AUTH_FAILED), False
    after = getattr(error, "retry_after", None)
    after = None if after is None else min(max(after, 0.0), RETRY_AFTER_LIMIT_S)
    if status == HTTPStatus.TOO_MANY_REQUESTS and not isinstance(error, ModelQuotaExceededError):
        limited = StopReason.TOOL_RATE_LIMIT
        return Unavailable(told, retry_after_s=after, reason=limited), False
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        found = Unavailable(told, retry_after_s=after, reason=StopReason.MODEL_FAILED)
        return found, status not in _FREE
    return Rejected(told, reason=StopReason.MODEL_FAILED), False


def _status(error: AgentRunError) -> int | None:
    found = error if isinstance(error, ModelHTTPError) else error.__cause__
    status = getattr(found, "status_code", None)
    return status if isinstance(status, int) else None


def _said(error: AgentRunError) -> str:
    """The endpoint's own sentence, where it has the usual form."""
    body = getattr(error, "body", None)
    told = body.get("message") if isinstance(body, dict) else None
    return told if isinstance(told, str) else str(error)
