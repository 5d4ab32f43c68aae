"""Sessions that sit on the gate's table: by how much they delay a flip."""

import socket
import struct
from contextlib import suppress
from time import monotonic
from urllib.parse import parse_qs, urlsplit

import asyncpg
import structlog

from models.database import TRANSIENT, dsn
from models.gate import GateMode, flip
from models.scope import FLEET

_ENDED = "gate.idle_session_ended"


async def sits(url: str, timeout_ms: int) -> "asyncpg.Connection[asyncpg.Record]":
    """A session that has read the gate in a transaction, and then forgot about it."""
    session = await asyncpg.connect(dsn(url))
    await session.execute(f"SET idle_in_transaction_session_timeout = {timeout_ms}")
    await session.execute("BEGIN")
    await session.execute("SELECT FROM gate")
    return session


def falls_silent(url: str) -> socket.socket:
    """A session whose process is frozen in the midst of a statement: parsed, and never carried out.

    To PostgreSQL it is active, not idle, and no timeout of its own ends it. asyncpg is there for a
    moment whenever it meets a statement for the first time on a connection.
    """
    parts = urlsplit(url)
    where = parse_qs(parts.query)
    session = socket.socket(socket.AF_UNIX)
    session.connect(f"{where['host'][0]}/.s.PGSQL.{where['port'][0]}")
    told = f"user\0{parts.username}\0database\0{parts.path[1:]}\0\0".encode()
    session.sendall(struct.pack("!ii", len(told) + 8, 3 << 16) + told)
    while not _heard(session).endswith(b"I"):  # ready, idle
        pass
    parse = b"\0SELECT FROM gate\0\0\0"
    flush = b"H" + struct.pack("!i", 4)
    session.sendall(b"P" + struct.pack("!i", len(parse) + 4) + parse + flush)
    assert _heard(session).startswith(b"1")  # parsed
    return session


def _heard(session: socket.socket) -> bytes:
    session.settimeout(10)
    return session.recv(65536)


async def flip_s() -> tuple[float, list[str]]:
    """How long the flip took, and what it said meanwhile."""
    asked = monotonic()
    with structlog.testing.capture_logs() as logs:
        done = await flip(FLEET, GateMode.READ_ONLY, who="ada", reason="a test")
    assert done.changed
    return monotonic() - asked, [line["event"] for line in logs]


async def leaves(session: "asyncpg.Connection[asyncpg.Record]") -> None:
    with suppress(*TRANSIENT):
        await session.close(timeout=1)


async def test_a_session_idle_on_the_gate_delays_the_flip_until_its_own_timeout(database):
    session = await sits(database, timeout_ms=300)

    took_s, said = await flip_s()

    assert took_s > 0.2
    assert _ENDED not in said  # PostgreSQL did it
    await leaves(session)


async def test_the_flip_ends_a_session_that_sits_on_the_gate_without_a_timeout(database):
    session = await sits(database, timeout_ms=0)

    took_s, said = await flip_s()

    assert took_s > 0.8  # a second of idleness is not taken for a slow statement
    assert said.count(_ENDED) == 1
    await leaves(session)


async def test_the_flip_ends_a_session_that_was_frozen_in_the_midst_of_a_statement(database):
    with falls_silent(database):
        took_s, said = await flip_s()

    assert took_s > 0.8
    assert said.count(_ENDED) == 1
