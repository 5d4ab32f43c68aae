"""Tools from a lock: a pipeline declares them like any other."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from models.run import StopReason
from tools.mcp import lock as locks
from tools.mcp import schema
from tools.mcp.lock import Lock
from tools.mcp.pin import Pin
from tools.mcp.servers import need_library, server
from tools.misfit import faults
from tools.tool import Call, Contract, Effect, Rejected, Tool, unknowable


class Unusable(Contract):
    """The contract of a tool that has none: it is DESTRUCTIVE, and no run executes it."""


def mcp_tools(path: Path | str) -> dict[str, Tool[Any, Any]]:
    """The tools that a lock pins, by name: `server.tool`.

    Nothing is connected before the first call. What prompts may say of a tool is the lock's
    description, never the server's; nothing in its results is trusted.

    Raises:
        LockError: The lock cannot be used.
        McpMissing: The client library is not installed.
    """
    need_library()
    lock = locks.read(Path(path))
    return {each.tool: _tool(lock, each) for each in lock.tools}


def _tool(lock: Lock, pin: Pin) -> Tool[Any, Any]:
    takes, gives = _contract(pin)
    writes = pin.effect is not Effect.READ

    async def run(args: BaseModel, call: Call) -> BaseModel:
        given = args.__pydantic_serializer__.to_python(args, mode="json", exclude_unset=True)
        found = await server(lock).call(pin, given, call, writes=writes)
        try:
            return gives.model_validate(found)
        except ValidationError as error:
            raise Rejected(
                f"{pin.tool} answered outside its contract: {faults(error)}",
                reason=StopReason.TOOL_OUTPUT_INVALID,
            ) from None

    once = pin.effect is Effect.WRITE_ONCE
    return Tool(
        name=pin.tool,
        effect=pin.effect,
        takes=takes,
        gives=gives,
        run=run,
        timeout_s=pin.timeout_s,
        cost_usd=pin.cost_usd,
        retries=2,
        key_kept_for_s=pin.operator.key_kept_for_s or 0.0,
        lookup=unknowable if once else None,
        sinks=pin.sinks,
        about=pin.definition.description or "",
    )


def _contract(pin: Pin) -> tuple[type[BaseModel], type[BaseModel]]:
    """What it takes and gives; of one that no run executes, it does not matter."""
    name = "".join(part.capitalize() for part in pin.definition.name.split("_"))
    told = pin.definition.description or pin.tool
    try:
        takes = schema.arguments(f"{name}Arguments", pin.definition.input, told)
        return takes, schema.result(f"{name}Result", pin.result)
    except schema.NoContract:
        return Unusable, Unusable
