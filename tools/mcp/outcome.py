"""What an answer of a server, or the lack of one, means for the gateway.

Before bytes were sent everything is `Unavailable`. Afterwards:

    answer                                       a read            a write
    a result within its contract                 the result        the result
    a result outside of it                       Rejected          Rejected: done, in other words
    one too large or unreadable                  Rejected          Ambiguous
    isError                                      Rejected          Ambiguous; Rejected where the
                                                                   server is trusted, or the
                                                                   operator says `refused`
    no such tool, bad arguments, input required  Rejected          Rejected
    an HTTP status                               as tools/http.py has it; 404 is a lost session
    another protocol error, a dead server        Unavailable       Ambiguous

`isError` holds everything from "no such ticket" to a time-out behind the server, so from a server
that is not trusted it is no proof that nothing happened.
"""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import orjson
from mcp import MCPError
from mcp_types import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    URL_ELICITATION_REQUIRED,
    CallToolResult,
    InputRequiredResult,
    TextContent,
)
from pydantic import ValidationError
from pydantic_core import to_json

from models.run import StopReason
from tools.answers import doubt, excerpt, refused, unreadable
from tools.mcp.leaving import Leaving
from tools.tool import Ambiguous, Rejected, ToolError, Unavailable

RESULT_LIMIT_BYTES = 1024 * 1024
_REFUSALS = frozenset({METHOD_NOT_FOUND, INVALID_PARAMS, URL_ELICITATION_REQUIRED})


def value(
    answer: CallToolResult | InputRequiredResult,
    its: Leaving,
    *,
    errors_are_doubt: bool,
    secrets: Iterable[str],
) -> Any:
    """The result as the server means it, to be held against its contract.

    Raises:
        ToolError: As the table on top of this file says.
    """
    if isinstance(answer, InputRequiredResult):
        raise Rejected(f"{its.what} wants an answer from a person or a model; a run has none.")
    if answer.is_error:
        said = excerpt(_text(answer), secrets) or "without a word"
        told = f"{its.what} answered with an error: {said}."
        raise (Ambiguous if its.writes and errors_are_doubt else Rejected)(told)
    found = answer.structured_content
    if found is None:
        found = _read(_text(answer))
    if len(to_json(found)) > RESULT_LIMIT_BYTES:
        why = f"its answer is larger than {RESULT_LIMIT_BYTES} bytes"
        raise unreadable(its.what, why, writes=its.writes)
    return found


def fault(error: Exception, its: Leaving, secrets: Iterable[str]) -> ToolError:
    """What an exception of the client means."""
    said = excerpt(its.broke or str(error), secrets) or type(error).__name__
    if not its.left:
        return its.refusal or Unavailable(f"{its.what} was not sent: {said}.")
    if its.too_large:
        why = "its answer is larger than what is read of one"
        return unreadable(its.what, why, writes=its.writes)
    if its.status == HTTPStatus.NOT_FOUND:
        return Unavailable(f"{its.what}: its server knows our session no more.")
    if its.status is not None:
        told = f"{its.what} was answered with {its.status}: {said}."
        return refused(its.status, its.headers, told, writes=its.writes)
    code = error.code if isinstance(error, MCPError) and not its.broke else None
    if code in _REFUSALS:
        return Rejected(f"{its.what} was refused: {said}.")
    if code == PARSE_ERROR or isinstance(error, ValidationError):
        return unreadable(its.what, "its answer is not of the protocol", writes=its.writes)
    told = f"{its.what} got no whole answer: {said}."
    return doubt(told, StopReason.TOOL_FAILED, writes=its.writes)


def _text(answer: CallToolResult) -> str:
    return "\n".join(each.text for each in answer.content if isinstance(each, TextContent))


def _read(text: str) -> Any:
    """The result of a tool that only speaks: the object it wrote, or its words as `text`."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {"text": text}
