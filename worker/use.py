"""A use: one tool, asked once, for as long as it may take."""

import asyncio
import time
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from models.run import StopReason
from tools.misfit import misfit
from tools.tool import Ambiguous, Call, Rejected, Tool, ToolError, Unavailable
from worker.ruling import Ruling

A = TypeVar("A", bound=BaseModel)
R = TypeVar("R", bound=BaseModel)


async def invoke(tool: Tool[A, R], args: A, call: Call) -> R:
    """Use a tool. The one seam: behind it, tests may put a world of their own."""
    return await tool.run(args, call)


async def in_time(tool: Tool[A, R], args: A, call: Call, ruling: Ruling) -> R:
    """Use a tool until its deadline. Nobody needs a secret that an error tells: it is hidden.

    Raises:
        ToolError: As the tool says; after the deadline Ambiguous for a write, else Unavailable.
    """
    try:
        async with asyncio.timeout(max(0.0, call.deadline - time.monotonic())):
            return await invoke(tool, args, call)
    except ToolError as error:
        error.args = (ruling.logging.redactor(str(error)),)
        raise
    except TimeoutError as error:
        told = f"{tool.name} did not answer within {ruling.timeout_s:g} s"
        if tool.writes:
            raise Ambiguous(told, reason=StopReason.TOOL_TIMEOUT) from error
        raise Unavailable(told, reason=StopReason.TOOL_TIMEOUT) from error


def checked(tool: Tool[A, R], result: R, most_bytes: int) -> tuple[bytes, R]:
    """A result as it is recorded, and as it comes back from there.

    Raises:
        Rejected: It is outside the tool's contract, or too large.
    """
    try:
        written = result.__pydantic_serializer__.to_json(result, warnings="error")
        value = tool.gives.model_validate_json(written) if len(written) <= most_bytes else None
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
