"""The servers that this process uses, of its running loop; the client library loads with them."""

import asyncio
import os
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from tools.mcp.lock import Lock
from tools.mcp.pin import Definition, Pin
from tools.tool import Call

INSTALL = (
    "MCP servers need the Python package mcp, which is not installed here:"
    " run `pip install 'mcp>=2.3,<3'` in the environment of sluice"
)


class McpMissing(ImportError):
    """The client library is not there; it comes with the extra `mcp`."""


class Server(Protocol):
    """See `tools.mcp.server.Server`."""

    async def call(self, pin: Pin, arguments: dict[str, Any], call: Call, *, writes: bool) -> Any:
        """Use a tool."""

    async def close(self) -> None:
        """Let the server go."""


_servers: dict[tuple[int, asyncio.AbstractEventLoop, int], tuple[Lock, Server]] = {}
"""By process and loop, as tools/line.py has it; and by lock, which is kept so that its id is."""


def server(lock: Lock) -> Server:
    """The running loop's server of this lock. It connects when it is first used."""
    key = os.getpid(), asyncio.get_running_loop(), id(lock)
    if key not in _servers:
        _servers[key] = lock, _library("tools.mcp.server").Server(lock)
    return _servers[key][1]


async def offered(lock: Lock) -> dict[str, Definition]:
    """What a server offers now, by name.

    Raises:
        McpMissing: The client library is not installed.
        Unavailable: The server cannot be reached.
    """
    found: dict[str, Definition] = await _library("tools.mcp.server").offered(lock)
    return found


async def close() -> None:
    """Let the running loop's servers go; a later call connects anew."""
    here = os.getpid(), asyncio.get_running_loop()
    mine = [key for key in _servers if key[:2] == here]
    await asyncio.gather(*(_servers.pop(key)[1].close() for key in mine))


def need_library() -> None:
    """Say at once, in a sentence, that the client library is missing.

    Raises:
        McpMissing: It is.
    """
    try:
        there = find_spec("mcp") is not None
    except ValueError:  # somebody keeps it from being loaded
        there = False
    if not there:
        raise McpMissing(INSTALL)


def _library(module: str) -> Any:
    """Loaded here: it takes half a second, and most processes speak to no MCP server."""
    need_library()
    return import_module(module)
