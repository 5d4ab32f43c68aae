"""A target on the wire that fails as it is told, and remembers what reached it."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from uuid import UUID

from tools import http
from tools.tool import Call

Answer = Callable[["Target", asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Target:
    """A server that remembers what reached it, and answers as it is told."""

    answer: Answer
    url: str = ""
    connections: int = 0
    heads: list[str] = field(default_factory=list)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def lines(self) -> list[str]:
        return [head.splitlines()[0].removesuffix(" HTTP/1.1") for head in self.heads]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            if self.answer is resets_before_reading:
                await self.answer(self, writer)
            while not writer.is_closing():
                first = await reader.readexactly(1)
                if first == b"\x16":  # a TLS handshake, which this server does not speak
                    return
                head = (first + await reader.readuntil(b"\r\n\r\n")).decode()
                length = head.lower().partition("content-length: ")[2].partition("\r\n")[0]
                await reader.readexactly(int(length or 0))
                self.heads.append(head)
                await self.answer(self, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def target(answer: Answer) -> AsyncIterator[Target]:
    it = Target(answer)
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    it.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield it
        it.stopped.set()
        await http.close()


def says(status: str, body: bytes = b"{}", *headers: str) -> Answer:
    async def answer(_: Target, writer: asyncio.StreamWriter) -> None:
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
        writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return answer


def _reset(writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def resets_before_reading(_: Target, writer: asyncio.StreamWriter) -> None:
    _reset(writer)


async def resets_after_reading(_: Target, writer: asyncio.StreamWriter) -> None:
    _reset(writer)


async def closes_after_reading(_: Target, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def gives_half_an_answer(_: Target, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{"data":')
    writer.close()


async def talks_nonsense(_: Target, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP ready\r\n\r\n")
    writer.close()


async def is_a_black_hole(it: Target, _: asyncio.StreamWriter) -> None:
    await it.stopped.wait()


async def answers_once_and_then_hangs_up(it: Target, writer: asyncio.StreamWriter) -> None:
    if len(it.heads) == 1:
        await says("200 OK")(it, writer)
    else:
        writer.close()


def a_call(key: str = "run:step", *, lasts_s: float = 5, leaves_within_s: float = 2) -> Call:
    now = monotonic()
    return Call(UUID(int=1), "acme", "step", key, now + lasts_s, now + leaves_within_s)


async def write(it: Target, call: Call | None = None, method: str = "POST") -> http.Reply:
    json = None if method == "DELETE" else {"a": 1}
    return await http.Wire(it.url).send(method, "x", call=call or a_call(), writes=True, json=json)


async def read(it: Target, call: Call | None = None) -> http.Reply:
    return await http.Wire(it.url).send("GET", "x", call=call or a_call(), writes=False)
