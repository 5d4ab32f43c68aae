"""A server as a child process: one line of JSON for each message, on its standard streams.

The client library has such a transport too. This one says when a call's bytes leave, gives the
child no variable that the lock does not name, and reads no line without end.
"""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCRequest, jsonrpc_message_adapter

from tools.answers import excerpt
from tools.mcp.leaving import leaving

log = structlog.get_logger()

LINE_LIMIT_BYTES = 4 * 1024 * 1024
_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "TZ")
"""What programs need to be found and to run; none of them is a secret."""
_LEAVES_WITHIN_S = 2.0
"""A server whose input has ended is ended after so long."""

Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], "Writing"]


class Writing:
    """The child's standard input, written in the context of whoever calls."""

    def __init__(self, child: Process) -> None:
        assert child.stdin is not None  # noqa: S101  # for the type checker; it has a pipe
        self._pipe = child.stdin

    async def send(self, item: SessionMessage) -> None:
        """Write one message. Once begun it is buffered whole: no cancellation cuts a line in two.

        Raises:
            ToolError: It is a call that may not leave any more.
            anyio.BrokenResourceError: The child is gone.
        """
        message = item.message
        line = message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
        if self._pipe.is_closing():
            raise anyio.BrokenResourceError
        its = leaving.get()
        if its is not None and isinstance(message, JSONRPCRequest) and message.method == CALL:
            its.leave()
        try:
            self._pipe.write(line)
            await self._pipe.drain()
        except (OSError, RuntimeError) as error:
            raise anyio.BrokenResourceError from error

    async def aclose(self) -> None:
        self._pipe.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()


CALL = "tools/call"


def environment(named: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """The child's whole environment: what programs need, and what the lock names."""
    return {name: ours[name] for name in _INHERITED if name in ours} | dict(named)


@asynccontextmanager
async def child(
    command: Sequence[str], named: Mapping[str, str], *, server: str, gone: Callable[[str], None]
) -> AsyncIterator[Streams]:
    """Start a server; it is over when the context is left. `gone` hears when it leaves by itself.

    Raises:
        OSError: The program cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment(named, os.environ),
        limit=LINE_LIMIT_BYTES, start_new_session=True,
    )  # fmt: skip
    into, out = anyio.create_memory_object_stream[SessionMessage | Exception](64)
    told: deque[str] = deque(maxlen=1)

    async def listen() -> None:
        why = await _listen(process, into)
        gone(" ".join([why, *told]))

    heard = [
        asyncio.create_task(_repeat(process, server, named, told), name=f"mcp {server} stderr"),
        asyncio.create_task(listen(), name=f"mcp {server}"),
    ]
    try:
        yield out, Writing(process)
    finally:
        await asyncio.shield(asyncio.ensure_future(_end(process, heard)))
        into.close()
        out.close()


async def _listen(
    process: Process, into: MemoryObjectSendStream[SessionMessage | Exception]
) -> str:
    """Pass on what the child says, until it ends or a line holds too much; return which."""
    assert process.stdout is not None  # noqa: S101  # for the type checker; it has a pipe
    why = "its process has ended"
    with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        try:
            while line := await process.stdout.readline():
                try:
                    message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValueError as error:
                    await into.send(error)
                else:
                    await into.send(SessionMessage(message))
        except ValueError:
            why = f"it said more than {LINE_LIMIT_BYTES} bytes in one message"
    into.close()
    return why


async def _repeat(
    process: Process, server: str, named: Mapping[str, str], told: "deque[str]"
) -> None:
    """Log what the child says to people, and keep the last of it; none of what it was given."""
    assert process.stderr is not None  # noqa: S101  # for the type checker; it has a pipe
    while said := await process.stderr.read(4096):
        lines = [each for each in said.decode(errors="replace").splitlines() if each.strip()]
        if lines:
            told.append(f"(it said: {excerpt(lines[-1], named.values())})")
            log.debug("mcp.server_said", server=server, said=told[0])


async def _end(process: Process, heard: Sequence["asyncio.Task[None]"]) -> None:
    """Close its input, give it a moment, then end it and whatever it has started."""
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), _LEAVES_WITHIN_S)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    for each in heard:
        each.cancel()
    await asyncio.gather(*heard, return_exceptions=True)
