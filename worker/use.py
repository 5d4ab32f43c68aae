"""A use: one tool, asked once, for as long as it may take."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from types import coroutine
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from models.run import StopReason
from tools.misfit import misfit
from tools.tool import Ambiguous, Call, Rejected, Tool, ToolError, Unavailable

A = TypeVar("A", bound=BaseModel)
R = TypeVar("R", bound=BaseModel)


async def invoke(tool: Tool[A, R], args: A, call: Call) -> R:
    """Use a tool. The one seam: behind it, tests may put a world of their own."""
    return await tool.run(args, call)


async def in_time(
    tool: Tool[A, R], args: A, call: Call, timeout_s: float, redact: Callable[[str], str] = str
) -> R:
    """Use a tool until its deadline. Nobody needs a secret that an error tells: it is hidden.

    Raises:
        ToolError: As the tool says; after the deadline Ambiguous for a write, else Unavailable.
    """
    asked = invoke(tool, args, call)
    try:
        waits_for = asked.send(None)
        async with asyncio.timeout(max(0.0, call.deadline - time.monotonic())):
            return await _rest(asked, waits_for)
    except StopIteration as answered:  # it never waited: no watch had to be set
        result: R = answered.value
        return result
    except ToolError as error:
        error.args = (redact(str(error)),)
        raise
    except TimeoutError as error:
        told = f"{tool.name} did not answer within {timeout_s:g} s"
        if tool.writes:
            raise Ambiguous(told, reason=StopReason.TOOL_TIMEOUT) from error
        raise Unavailable(told, reason=StopReason.TOOL_TIMEOUT) from error


async def rehearsed(tool: Tool[A, R], args: A, call: Call) -> R:
    """What would come of a write, where its tool can tell.

    Raises:
        ToolError: As the tool says; Unavailable after the deadline, or where it cannot tell.
    """
    if tool.rehearse is None:
        raise Unavailable(f"{tool.name} has no rehearsal")
    try:
        async with asyncio.timeout(max(0.0, call.deadline - time.monotonic())):
            return await tool.rehearse(args, call)
    except TimeoutError as error:
        raise Unavailable(f"{tool.name} was not rehearsed in time") from error


@coroutine
def _rest(asked: Coroutine[Any, Any, R], waits_for: Any) -> Generator[Any, Any, R]:
    """What is left of a coroutine that has come to its first wait."""
    while True:
        try:
            yield waits_for
        except BaseException as error:  # noqa: BLE001  # it is the coroutine's to deal with
            go_on = partial(asked.throw, error)
        else:
            go_on = partial(asked.send, None)
        try:
            waits_for = go_on()
        except StopIteration as answered:
            result: R = answered.value
            return result


def checked(tool: Tool[A, R], result: R, most_bytes: int) -> tuple[bytes, R]:
    """A result as it is recorded, and as it comes back from there.

    Raises:
        Rejected: It is outside the tool's contract, or too large.
    """
    try:
        written = result.__pydantic_serializer__.to_json(result, warnings="error")
        read = tool.gives.__pydantic_validator__.validate_json
        value: R | None = read(written) if len(written) <= most_bytes else None
    except (ValidationError, ValueError, AttributeError) as error:
        raise Rejected(
            f"{tool.name} answered outside its contract: {misfit(result, error)}",
            reason=StopReason.TOOL_OUTPUT_INVALID,
        ) from error
    if value is None:
        raise Rejected(
            f"{tool.name} answered with {len(written):,} bytes: see validation.output.max_bytes",
            reason=StopReason.TOOL_OUTPUT_INVALID,
        )
    return written, value
