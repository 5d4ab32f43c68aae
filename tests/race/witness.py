"""The target of the race: notes when each request's first byte came in.

The moments stand in a file that both sides map, as doubles behind their count: CLOCK_MONOTONIC is
the same for every process of a machine. `python -m tests.race.witness FOLDER [refuses]`
"""

import asyncio
import mmap
import struct
import sys
from array import array
from pathlib import Path
from time import monotonic
from typing import Any

import uvloop

_ROOM = 8_000_000
_BYTES = 8 * (_ROOM + 1)
_YES = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
_LATER = b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 2\r\n\r\n{}"
_END = b"\r\n\r\n"


class Arrivals:
    """When requests came in, in the order in which they did."""

    def __init__(self, folder: Path) -> None:
        path = folder / "arrivals"
        if not path.exists():
            with path.open("wb") as file:
                file.truncate(_BYTES)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _BYTES)

    def __len__(self) -> int:
        return int(struct.unpack_from("<q", self._map, 0)[0])

    def note(self, at: float) -> None:
        count = len(self)
        struct.pack_into("<d", self._map, 8 * (count + 1), at)
        struct.pack_into("<q", self._map, 0, count + 1)

    def all(self) -> "array[float]":
        return array("d", self._map[8 : 8 * (len(self) + 1)])


class _Line(asyncio.Protocol):
    """One writer's connection, which sends one request at a time."""

    def __init__(self, arrivals: Arrivals, seen: set[bytes] | None) -> None:
        self._arrivals = arrivals
        self._seen = seen
        self._came = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        now = monotonic()
        if not self._came:
            self._arrivals.note(now)
        self._came += data
        head, end, body = self._came.partition(_END)
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if end and len(body) >= int(length or 0):
            self._came = b""
            self._transport.write(self._answer(head))

    def _answer(self, head: bytes) -> bytes:
        key = head.lower().partition(b"idempotency-key: ")[2].partition(b"\r\n")[0]
        if self._seen is None or not key.endswith((b"0", b"3", b"6", b"9")) or key in self._seen:
            return _YES
        self._seen.add(key)
        return _LATER


async def _serve(folder: Path, *, refuses: bool) -> None:
    arrivals, seen = Arrivals(folder), set[bytes]() if refuses else None
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Line(arrivals, seen), "127.0.0.1", 0)
    (folder / "url.new").write_text(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    (folder / "url.new").rename(folder / "url")
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as _runner:
        _runner.run(_serve(Path(sys.argv[1]), refuses=sys.argv[2:] == ["refuses"]))
