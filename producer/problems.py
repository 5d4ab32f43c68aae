"""Problems: what an HTTP client is told when it does not get what it asked for (RFC 9457)."""

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import orjson
import sentry_sdk
import structlog
from aiohttp import web

from models.batcher import DatabaseAway
from models.database import TRANSIENT
from models.gate import GateBusy
from models.request import Malformed as MalformedRequest
from models.request import Refused
from models.standstill import Overruled
from models.verdict import BadAnswer, NotOpen
from producer.redacted import said

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Problem(Exception):
    """One answer that is no success; the class holds its status and its code."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong on our side."

    def __init__(self, detail: str, *, retry_after_s: int | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.more = more

    def response(self) -> web.Response:
        code = self.more.get("code", self.code)
        body = {
            "type": f"https://sluice.invalid/problems/{code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": said(self.detail),
            **self.more,
        }
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        return web.Response(
            status=self.status,
            body=orjson.dumps(body),
            content_type="application/problem+json",
            headers=headers,
        )


class Malformed(Problem):
    status, code, title = 400, "malformed", "The request cannot be read."


class Unauthenticated(Problem):
    status, code, title = 401, "unauthenticated", "Who asks is not known."


class Forbidden(Problem):
    status, code, title = 403, "forbidden", "Who asks may not do this."


class Unknown(Problem):
    status, code, title = 404, "unknown", "There is no such thing here."


class Conflict(Problem):
    status, code, title = 409, "conflict", "It has changed meanwhile."


class TooLarge(Problem):
    status, code, title = 413, "too_large", "The request is larger than what is taken."


class Unprocessable(Problem):
    status, code, title = 422, "unprocessable", "The request can be read, but not fulfilled."


class NotNow(Problem):
    status, code, title = 503, "not_now", "The database is away; nothing is known to be stored."


def problem_of(refused: Refused) -> Problem:
    """How HTTP says why a request was not accepted."""
    kind = Malformed if isinstance(refused, MalformedRequest) else Unprocessable
    problem = kind(refused.detail)
    problem.more["code"] = refused.code
    if refused.pointer:
        problem.more["pointer"] = refused.pointer
    return problem


@web.middleware
async def as_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into a problem; what is our fault says no more than that."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _plain(error)
    except Exception as error:  # each becomes an answer
        problem = _problem_for(error)
        if type(problem) is Problem:
            log.exception("request.failed", path=request.path)
            sentry_sdk.capture_exception(error)
        return problem.response()


def _problem_for(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, Refused):
        return problem_of(error)
    if isinstance(error, web.RequestPayloadError):
        return Malformed(f"the body cannot be unpacked: {error}")
    if isinstance(error, NotOpen):
        return Conflict(str(error))
    if isinstance(error, BadAnswer):
        return Unprocessable(f"the answer does not fit the review: {error}")
    if isinstance(error, Overruled):
        return Conflict(str(error))
    if isinstance(error, GateBusy):
        return NotNow(str(error), retry_after_s=1)
    if isinstance(error, (DatabaseAway, *TRANSIENT)):
        log.warning("request.database_away", error=repr(error)[:300])
        told = "PostgreSQL did not answer; send the same request with the same key again"
        return NotNow(told, retry_after_s=1)
    return Problem("this is a bug of ours, and it is recorded")


def _plain(error: web.HTTPException) -> web.Response:
    """aiohttp's own refusals: no such route, wrong method, a body that is too large."""
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return TooLarge(error.text or "the body is too large").response()
    problem = Unknown(error.text or error.reason)
    problem.more |= {
        "status": error.status,
        "title": error.reason,
        "code": error.reason.lower().replace(" ", "_"),
    }
    response = problem.response()
    response.set_status(error.status)
    return response
