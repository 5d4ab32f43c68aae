"""Doors: listeners before a server, through which everything is carried under a watch."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.boundaries import Boundary, Watch
from tests.chaos.frames import Answer, Frames


@dataclass
class Door:
    """A listener before one server; whoever comes is carried through under a watch."""

    watch: Watch
    server: Path | int
    """A unix socket, or a port of loopback."""
    frames: Callable[[], Frames]
    _listener: asyncio.Server | None = None
    _carrying: set["asyncio.Task[None]"] = field(default_factory=set)

    async def open(self, folder: Path | None = None) -> int:
        """Listen on the server's own name in a folder, or on a free port, which is returned."""
        if isinstance(self.server, Path):
            assert folder is not None
            self._listener = await asyncio.start_unix_server(self._carry, folder / self.server.name)
            return 0
        self._listener = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    def shut(self) -> None:
        """Let nobody in; who is inside is carried on."""
        if self._listener is not None:
            self._listener.close()

    def hang_up(self) -> None:
        for each in self._carrying:
            each.cancel()

    async def _carry(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            server, onward = await (
                asyncio.open_unix_connection(self.server)
                if isinstance(self.server, Path)
                else asyncio.open_connection("127.0.0.1", self.server)
            )
            line = Line(self.watch, self.frames(), query=isinstance(self.server, Path))
            both = [
                asyncio.create_task(line.ask(client, onward)),
                asyncio.create_task(line.answer(server, back)),
            ]
            self._carrying.update(both)
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for each in both:
                each.cancel()
                self._carrying.discard(each)
            for end in (back, onward):
                end.transport.abort()
            await asyncio.gather(*both, return_exceptions=True)
            line.close()


@dataclass
class Line:
    """One connection through a door."""

    watch: Watch
    frames: Frames
    query: bool
    _open: Boundary | None = None
    """What was asked and is not answered yet."""
    _told: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, client: asyncio.StreamReader, onward: asyncio.StreamWriter) -> None:
        while True:
            request = await self.frames.request(client)
            self._open = await self.watch.ask(request, query=self.query)
            self.watch.under_way += self._open is not None
            self._told.clear()
            onward.write(request.data)
            await onward.drain()
            if self._open is not None:  # the answer is waited for, also when nobody is left
                await self._told.wait()

    async def answer(self, server: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        held, rows = bytearray(), False
        while True:
            part: Answer = await self.frames.answer(server)
            held += part.data
            rows |= part.rows
            boundary = self._open
            if boundary is not None and not part.whole:
                continue
            if boundary is not None:
                await self.watch.answered(boundary, rows=rows)
                self.close()
            back.write(bytes(held))
            await back.drain()
            self._told.set()
            held, rows = bytearray(), False
            if boundary is not None:
                await self.watch.passed()

    def close(self) -> None:
        """Nothing is asked on this line any more."""
        self.watch.under_way -= self._open is not None
        self._open = None
