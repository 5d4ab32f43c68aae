"""Frames: what a worker says to PostgreSQL and to a target, cut into requests and answers."""

import importlib
import pkgutil
import re
import struct
from asyncio import StreamReader
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

import worker

OF_A_RUN = frozenset({
    "worker.checkpoint",
    "worker.claim",
    "worker.departure",
    "worker.intent",
    "worker.keeping",
    "worker.mandate",
    "worker.parking",
    "worker.proposing",
    "worker.record",
    "worker.rollback",
    "worker.testimony",
})  # fmt: skip
"""Whose statements are boundaries."""
OF_THE_WORKER = frozenset({
    "worker.engine",
    "worker.gatekeeper",
    "worker.heartbeat",
    "worker.quarantine",
    "worker.sweeper",
})  # fmt: skip
"""Whose statements belong to no run."""

CLAIM = "claim"
_VERBS = ("WITH", "SELECT", "INSERT", "UPDATE", "DELETE")
_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102


@dataclass(frozen=True, slots=True)
class Request:
    """What the client sends before it waits for an answer."""

    data: bytes
    name: str | None = None
    """Of the boundary; None for what belongs to no run."""
    alone: bool = True
    """Not inside a transaction that was begun before."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole answer, or a part of it."""

    data: bytes
    whole: bool
    rows: bool = False


class Frames(Protocol):
    """One connection's way of speaking."""

    async def request(self, reader: StreamReader) -> Request: ...

    async def answer(self, reader: StreamReader) -> Answer: ...


class PostgresFrames:
    """The frontend protocol of PostgreSQL, version 3, as far as a worker speaks it."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._prepared: dict[bytes, str] = {}
        self._greeted = False
        self._began = False
        """The server is inside a transaction."""
        self._busy: str | None = None
        """The last statement of a run in that transaction."""

    async def request(self, reader: StreamReader) -> Request:
        if not self._greeted:
            return await self._greeting(reader)
        data, name = bytearray(), None
        while True:
            kind, body, raw = await _message(reader)
            data += raw
            if kind == b"P":
                statement, sql, _ = body.split(b"\0", 2)
                self._prepared[statement] = sql.decode()
            elif kind == b"B":
                _, statement, _ = body.split(b"\0", 2)
                name = self._name(self._prepared[statement])
            elif kind == b"Q":
                name = self._simple(body.rstrip(b"\0").decode())
            if kind in {b"S", b"H", b"Q", b"X", b"p"}:
                return Request(bytes(data), name, alone=not self._began)

    async def answer(self, reader: StreamReader) -> Answer:
        kind, body, raw = await _message(reader)
        ready = kind == b"Z"
        if ready:
            self._began = body != b"I"
            self._busy = self._busy if self._began else None
        return Answer(raw, whole=ready, rows=kind == b"D")

    async def _greeting(self, reader: StreamReader) -> Request:
        head = await reader.readexactly(8)
        size, code = struct.unpack("!II", head)
        self._greeted = code not in {_SSL, _GSS, _CANCEL}
        return Request(head + await reader.readexactly(size - 8))

    def _name(self, sql: str) -> str | None:
        name = self._names.get(sql)
        self._busy = name or self._busy
        return name

    def _simple(self, sql: str) -> str | None:
        """A transaction is a run's as soon as one of its statements is."""
        if sql.upper().startswith(("BEGIN", "ROLLBACK")):
            return None
        if sql.upper().startswith("COMMIT"):
            return f"commit of {self._busy}" if self._busy else None
        return self._name(sql)


class HttpFrames:
    """HTTP/1.1 as our targets speak it: bodies have a length."""

    async def request(self, reader: StreamReader) -> Request:
        data = await _http(reader)
        method, path, _ = data.split(b" ", 2)
        first = re.match(r"/[^/?]*", path.decode())
        return Request(data, f"{method.decode()} {first[0] if first else '/'}")

    async def answer(self, reader: StreamReader) -> Answer:
        return Answer(await _http(reader), whole=True)


def statement_names() -> dict[str, str]:
    """The SQL of what a run does -> the constant that holds it, `_SETTLE` as settle.

    Raises:
        LookupError: A module has SQL, and nobody has said whether that belongs to a run.
    """
    names: dict[str, str] = {}
    for each in pkgutil.iter_modules(worker.__path__, "worker."):
        statements = dict(_statements(importlib.import_module(each.name)))
        if statements and each.name not in OF_A_RUN | OF_THE_WORKER:
            raise LookupError(f"{each.name} has SQL: list it in OF_A_RUN or in OF_THE_WORKER")
        if each.name in OF_A_RUN:
            names |= statements
    return names


def _statements(module: ModuleType) -> Iterator[tuple[str, str]]:
    for name, value in vars(module).items():
        constant = name.startswith("_") and name.isupper() and isinstance(value, str)
        if constant and value.lstrip().upper().startswith(_VERBS):
            yield value, name.strip("_").lower()


async def _message(reader: StreamReader) -> tuple[bytes, bytes, bytes]:
    head = await reader.readexactly(5)
    body = await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)
    return head[:1], body, head + body


async def _http(reader: StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    return head + await reader.readexactly(int(length[1]) if length else 0)
