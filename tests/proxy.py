"""A proxy before a server, that a test may shut, freeze, slow down, or make unfair to a request."""

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

_NO_LINGER = struct.pack("ii", 1, 0)
"""A close under it is a reset."""


class Fate(StrEnum):
    """What becomes of one request, seen from who asked."""

    RESET_BEFORE = "reset before"  # it reaches nobody, and the line is reset
    RESET_AFTER = "reset after"  # it is done, its answer is lost, and the line is reset
    HALF_ANSWER = "half answer"  # it is done, and the line closes in the midst of the answer
    BLACK_HOLE = "black hole"  # it reaches nobody, and the line stays open
    SILENCE = "silence"  # it is done, its answer never comes, and the line stays open
    LATE = "late"  # it is done after `late_s`, when who asked may have gone


@dataclass
class _Line:
    """One client's connection through the proxy."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    fate: Fate | None = None

    def hang_up(self) -> None:
        for end in (self.client, self.server):
            plug: socket.socket = end.get_extra_info("socket")
            if self.fate is not Fate.HALF_ANSWER and plug.family != socket.AF_UNIX:
                with suppress(OSError):  # it has hung up by itself
                    plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            end.transport.abort()


@dataclass
class Proxy:
    """Carries lines to a server until it is told otherwise; see its two kinds for the sockets."""

    fate_of: Callable[[bytes], Fate | None] | None = None
    """Asked about each piece of a request; the first fate that it names is the line's."""
    met: Counter[Fate] = field(default_factory=Counter)
    """How often each fate was met."""
    lose_answer_to: bytes | None = None
    """The next request that holds these bytes reaches the server, and its answer nobody."""
    lost: int = 0
    late_s: float = 3.0
    delay_s: tuple[float, float] = (0.0, 0.0)
    """Each piece of an answer comes later by as much as chance takes from between these."""
    delayed: int = 0
    refused: int = 0
    """Newcomers for whom the server was not there."""
    _frozen: asyncio.Event = field(default_factory=asyncio.Event)
    _listener: asyncio.Server | None = None
    _lines: list[_Line] = field(default_factory=list)

    async def open(self) -> None:
        """Let newcomers in, at the same address as before."""
        raise NotImplementedError

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        raise NotImplementedError

    async def shut(self) -> None:
        """Refuse newcomers and hang up on everybody."""
        if self._listener is not None:
            self._listener.close()
        self.cut()
        await asyncio.sleep(0.05)

    def cut(self) -> int:
        """Hang up on everybody, who may come again; return how many those were."""
        lines = list(self._lines)
        for line in lines:
            line.hang_up()
        return len(lines)

    def freeze(self) -> None:
        """Carry nothing more, and hang up on nobody."""
        self._frozen.set()

    def thaw(self) -> None:
        self._frozen.clear()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await self._connect()
        except OSError:
            self.refused += 1
            writer.transport.abort()
            return
        line = _Line(writer, server_writer)
        self._lines.append(line)
        both = [
            asyncio.create_task(self._ask(reader, line)),
            asyncio.create_task(self._answer(server_reader, line)),
        ]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for each in both:
            each.cancel()
        line.hang_up()
        self._lines.remove(line)
        await asyncio.gather(*both, return_exceptions=True)

    async def _ask(self, reader: asyncio.StreamReader, line: _Line) -> None:
        while data := await reader.read(65536):
            if line.fate is None and (fate := self._fate(data)) is not None:
                line.fate = fate
                self.met[fate] += 1
                await asyncio.sleep(self.late_s if fate is Fate.LATE else 0)
            if line.fate is Fate.RESET_BEFORE:
                return
            if line.fate is not Fate.BLACK_HOLE:
                await self._pass_on(data, line.server)
        if line.fate is Fate.LATE:
            await asyncio.Event().wait()  # until the server has done it

    async def _answer(self, reader: asyncio.StreamReader, line: _Line) -> None:
        while data := await reader.read(65536):
            if line.fate in {Fate.RESET_AFTER, Fate.LATE}:
                return  # the server has done it, and hangs up on nobody: we do
            if line.fate is Fate.HALF_ANSWER:
                await self._pass_on(data[: len(data) // 2], line.client)
                return
            if line.fate is Fate.SILENCE:
                continue
            if self.delay_s[1]:
                self.delayed += 1
                await asyncio.sleep(random.uniform(*self.delay_s))  # noqa: S311  # no secret
            await self._pass_on(data, line.client)

    def _fate(self, data: bytes) -> Fate | None:
        if self.lose_answer_to and self.lose_answer_to in data:
            self.lose_answer_to = None
            self.lost += 1
            return Fate.RESET_AFTER
        return self.fate_of(data) if self.fate_of else None

    async def _pass_on(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        while self._frozen.is_set():
            await asyncio.sleep(0.05)
        writer.write(data)
        await writer.drain()


@dataclass(kw_only=True)
class SocketProxy(Proxy):
    """Listens on a unix socket of the server's own name, in a folder of its own."""

    server: Path
    folder: Path

    async def open(self) -> None:
        path = self.folder / self.server.name
        path.unlink(missing_ok=True)
        self._listener = await asyncio.start_unix_server(self._carry, path)

    async def shut(self) -> None:
        (self.folder / self.server.name).unlink(missing_ok=True)
        await super().shut()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self.server)


@dataclass(kw_only=True)
class PortProxy(Proxy):
    """Listens on a port of loopback, which it keeps."""

    host: str
    port_of_server: int
    port: int = 0

    async def open(self) -> None:
        self._listener = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.host, self.port_of_server)


def every(n: int, mark: bytes, fate: Fate) -> Callable[[bytes], Fate | None]:
    """This fate for every n-th piece of a request that holds the mark."""
    seen = 0

    def fate_of(data: bytes) -> Fate | None:
        nonlocal seen
        seen += mark in data
        return fate if mark in data and seen % n == 0 else None

    return fate_of


@asynccontextmanager
async def proxied(database_url: str, folder: Path) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy before the embedded PostgreSQL, and the URL that leads through it."""
    before, query = database_url.split("?host=")
    sockets, _, port = query.partition("&port=")
    proxy = SocketProxy(server=Path(sockets) / f".s.PGSQL.{port}", folder=folder)
    await proxy.open()
    try:
        yield proxy, f"{before}?host={folder}&port={port}"
    finally:
        await proxy.shut()


@asynccontextmanager
async def port_proxied(url: str) -> AsyncIterator[tuple[PortProxy, str]]:
    """A proxy before whatever listens on a port, and the URL that leads through it."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    proxy = PortProxy(host=parts.hostname, port_of_server=parts.port)
    await proxy.open()
    try:
        yield proxy, url.replace(f":{parts.port}", f":{proxy.port}", 1)
    finally:
        await proxy.shut()
