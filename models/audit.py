"""The audit: what operators did, and what the fleet did in their place, in a chain of hashes."""

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

import orjson
from sqlalchemy import BigInteger, Column, LargeBinary, Text
from sqlmodel import Field, SQLModel

from models.columns import document, when, word
from models.database import hot


class Act(StrEnum):
    """What was done."""

    GATE = "gate"  # a gate was flipped
    KEY = "key"  # an API key was made
    CALLS = "calls"  # calls that were refused, and sensitive ones: see models/call_audit.py
    OVERRUN = "overrun"  # a target charged more for a call than was reserved
    BREAKER = "breaker"  # a breaker opened or closed, or was held so by an operator
    CONNECTION = "connection"  # a target was named for a tenant or for all, or taken away
    AUTONOMY = "autonomy"  # a pipeline may do more by itself, or less
    MEMORY = "memory"  # what was remembered was purged by an operator
    FORK = "fork"  # a run was begun with a part of another one's record


class Audit(SQLModel, table=True):
    """Each line's hash covers the one before. A trigger refuses to change or delete a line."""

    seq: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    """Without gaps."""
    at: datetime | None = when(nullable=False)
    who: str = Field(sa_type=Text)
    act: Act = Field(sa_type=word(Act))
    about: Any = document(nullable=False)
    before: bytes = Field(sa_type=LargeBinary)
    """The hash of the line before; of the first, 32 zero bytes."""
    hash: bytes = Field(sa_type=LargeBinary)


class Line(NamedTuple):
    """A line of the audit."""

    seq: int
    at: datetime
    who: str
    act: str
    about: str
    before: bytes
    hash: bytes

    def sealed(self) -> bytes:
        """What its hash must be: SHA-256 of its fields as a JSON list, one way to write each."""
        at = self.at.astimezone(UTC).isoformat(timespec="microseconds")
        told = [self.seq, at, self.who, self.act, self.about, self.before.hex()]
        return hashlib.sha256(orjson.dumps(told)).digest()


_BEGINNING = bytes(32)
_BEFORE_ALL = -(2**63)
_IN_TURN = "SELECT pg_advisory_xact_lock(hashtextextended('sluice.audit', 0))"
_LAST = """
    SELECT clock_timestamp() AS at, last.seq, last.hash
      FROM (SELECT) AS one LEFT JOIN (SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1) last
        ON true
"""
_LINE = "seq, at, who, act, about::text, before, hash"
"""As text, for not every connection has our codec."""
_LATEST = f"SELECT {_LINE} FROM audit ORDER BY seq DESC LIMIT $1"  # noqa: S608  # constants
_APPEND = "INSERT INTO audit VALUES ($1, $2, $3, $4, $5::text::json, $6, $7)"
_PAGE = f"SELECT {_LINE} FROM audit WHERE seq > $1 ORDER BY seq LIMIT 1000"  # noqa: S608  # constants


async def append(connection: Any, *, who: str, act: Act, about: dict[str, Any]) -> Line:
    """Write a line in the transaction that `connection` is in: both are kept, or none.

    One after the other, each reading the last line in a statement that begins after it has its
    turn; without a transaction of its own the caller would give the turn away at once.
    """
    await connection.execute(_IN_TURN)
    last = await connection.fetchrow(_LAST)
    line = Line(
        seq=(last["seq"] or 0) + 1,
        at=last["at"],
        who=who,
        act=act,
        about=orjson.dumps(about, option=orjson.OPT_SORT_KEYS).decode(),
        before=last["hash"] or _BEGINNING,
        hash=b"",
    )
    line = line._replace(hash=line.sealed())
    await connection.execute(_APPEND, *line)
    return line


class BrokenChain(Exception):
    """The audit was changed by somebody: the sentence says from which line on."""


async def lines(*, after: int = _BEFORE_ALL) -> AsyncIterator[Line]:
    """Every line from a place on, in order, page by page."""
    while page := await hot().fetch(_PAGE, after):
        for row in page:
            yield Line(*row)
        after = page[-1]["seq"]


async def verify(head: bytes | None = None) -> Line | None:
    """Walk the whole chain; return its last line.

    Whoever may write to the database can cut lines off at the end and nobody could tell from the
    rest; so `head`, a hash that was noted elsewhere, must be among them.

    Raises:
        BrokenChain: A line was changed, taken out or put in between; or `head` is not there.
    """
    last: Line | None = None
    seen = head is None
    async for line in lines():
        seq, before = (last.seq + 1, last.hash) if last else (1, _BEGINNING)
        if line.seq != seq:
            raise BrokenChain(f"line {seq} is missing")
        if line.before != before or line.sealed() != line.hash:
            raise BrokenChain(f"line {line.seq} is not what was written")
        seen = seen or line.hash == head
        last = line
    if not seen:
        raise BrokenChain("the noted head is not in the chain: its end was cut off or rewritten")
    return last


async def latest(count: int) -> list[Line]:
    """The last lines, newest first."""
    rows = await hot().fetch(_LATEST, count)
    return [Line(*row) for row in rows]
