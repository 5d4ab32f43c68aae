"""A load generator: HTTP/1.1 over raw sockets, so that the client is never what limits."""

import select
import socket
from collections import Counter
from collections.abc import Sequence

import orjson

_END = b"\r\n\r\n"
_LENGTH = b"content-length: "
_PIECE = 1 << 18


class Line:
    """One connection that carries one request at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def send(self, request: bytes) -> None:
        self.socket.sendall(request)

    def take(self) -> tuple[int, bytes] | None:
        """What has arrived, once it is a whole answer: status and body."""
        piece = self.socket.recv(_PIECE)
        if not piece:
            raise ConnectionError("the API closed the connection")
        buffer = self._buffer = self._buffer + piece
        end = buffer.find(_END)
        if end < 0:
            return None
        head = buffer[:end].lower()
        at = head.index(_LENGTH) + len(_LENGTH)
        length = int(head[at:].partition(b"\r")[0])
        if len(buffer) < end + len(_END) + length:
            return None
        self._buffer = b""
        return int(head[9:12]), buffer[end + len(_END) :]

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send, and wait for the answer."""
        self.send(request)
        while (answer := self.take()) is None:
            pass
        return answer

    def close(self) -> None:
        self.socket.close()


def load(port: int, requests: Sequence[bytes], *, connections: int) -> Counter[int]:
    """Send everything, each connection its next request as soon as it is answered."""
    lines = [Line(port) for _ in range(min(connections, len(requests)))]
    poll = select.epoll()
    by_handle = {line.socket.fileno(): line for line in lines}
    statuses: Counter[int] = Counter()
    waiting = iter(requests)
    for handle, line in by_handle.items():
        poll.register(handle, select.EPOLLIN)
        line.send(next(waiting))
    while statuses.total() < len(requests):
        for handle, _ in poll.poll(30):
            line = by_handle[handle]
            answer = line.take()
            if answer is None:
                continue
            statuses[answer[0]] += 1
            if (request := next(waiting, None)) is not None:
                line.send(request)
    poll.close()
    for line in lines:
        line.close()
    return statuses


def post(path: str, body: object, *, bearer: str, key: str | None = None) -> bytes:
    """A POST of this JSON, ready to be sent."""
    text = orjson.dumps(body)
    idempotency = f"Idempotency-Key: {key}\r\n" if key is not None else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {bearer}\r\n"
        f"{idempotency}Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
    )
    return head.encode() + text


def get(path: str, *, bearer: str) -> bytes:
    """A GET, ready to be sent."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {bearer}\r\n\r\n"
    ).encode()
