"""What happened at the tests' ticket desk, in a file of its own that Sluice never sees."""

import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_FILE = "desk.sqlite"
_SCHEMA = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = OFF;  -- outlives its process, which is what tests kill, not the machine
    CREATE TABLE IF NOT EXISTS seen (
        id           INTEGER PRIMARY KEY,
        at           REAL NOT NULL,
        key          TEXT,
        external_ref TEXT,
        did          TEXT NOT NULL,  -- created, repeated, refused or nothing
        fault        TEXT,           -- NULL: it was answered as it should be
        status       INTEGER         -- that it tried to answer; NULL: none
    );
    CREATE INDEX IF NOT EXISTS seen_external_ref ON seen (external_ref);
    CREATE INDEX IF NOT EXISTS seen_key ON seen (key);
    -- Nothing is unique but the number: an effect that happened twice must show.
    CREATE TABLE IF NOT EXISTS ticket (
        id           INTEGER PRIMARY KEY,
        at           REAL NOT NULL,
        external_ref TEXT NOT NULL,
        key          TEXT,
        title        TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS ticket_external_ref ON ticket (external_ref);
    CREATE INDEX IF NOT EXISTS ticket_key ON ticket (key);
    CREATE TABLE IF NOT EXISTS listed (
        at REAL NOT NULL, key TEXT, external_ref TEXT, found INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS told (id INTEGER PRIMARY KEY CHECK (id = 1), faults TEXT NOT NULL);
"""
_TICKETS = "SELECT id, at, external_ref, key, title FROM ticket"
_SEEN = "SELECT at, key, external_ref, did, fault, status FROM seen"


@dataclass(frozen=True, slots=True)
class Ticket:
    """One effect."""

    id: int
    at: float
    external_ref: str
    key: str | None
    title: str


@dataclass(frozen=True, slots=True)
class Seen:
    """One POST that reached the desk, and what the desk made of it."""

    at: float
    key: str | None
    external_ref: str | None
    did: str
    fault: str | None
    status: int | None


class DeskRecord:
    """Reads what a desk has done: while it runs, after it was killed, and once it is gone."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE

    def tickets(self) -> list[Ticket]:
        return [Ticket(*row) for row in self._rows(f"{_TICKETS} ORDER BY id")]

    def effects(self) -> Counter[str]:
        """How many tickets there are for each external_ref."""
        return Counter(ticket.external_ref for ticket in self.tickets())

    def duplicates(self) -> dict[str, int]:
        """The external_refs with more than one ticket, and how many those have."""
        return {ref: count for ref, count in self.effects().items() if count > 1}

    def requests(self) -> list[Seen]:
        """Every POST, in the order in which they were served."""
        return [Seen(*row) for row in self._rows(f"{_SEEN} ORDER BY id")]

    def requests_of(self, key: str) -> list[Seen]:
        return [Seen(*row) for row in self._rows(f"{_SEEN} WHERE key = ? ORDER BY id", key)]

    def listings(self) -> int:
        """How often somebody has looked."""
        return int(self._rows("SELECT count(*) FROM listed")[0][0])

    def faults(self) -> Counter[str]:
        """How often each fault was really injected."""
        rows = self._rows("SELECT fault, count(*) FROM seen WHERE fault IS NOT NULL GROUP BY fault")
        return Counter(dict(rows))

    def _rows(self, statement: str, *values: object) -> list[Any]:
        with closing(sqlite3.connect(self._path, timeout=10)) as database:
            return database.execute(statement, values).fetchall()


class Book:
    """The desk's own hand: each `with` is one transaction."""

    def __init__(self, folder: Path) -> None:
        self._database = sqlite3.connect(folder / _FILE, isolation_level=None)
        self._database.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        self._database.execute("BEGIN IMMEDIATE")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._database.execute("ROLLBACK" if kind else "COMMIT")

    def told(self) -> str:
        """The faults as they were last set, also before a restart."""
        row = self._database.execute("SELECT faults FROM told").fetchone()
        return row[0] if row else "{}"

    def tell(self, faults: str) -> None:
        self._database.execute("INSERT OR REPLACE INTO told (id, faults) VALUES (1, ?)", (faults,))

    def posts_of(self, external_ref: str) -> int:
        row = self._database.execute(
            "SELECT count(*) FROM seen WHERE external_ref = ?", (external_ref,)
        ).fetchone()
        return int(row[0])

    def note(
        self,
        key: str | None,
        external_ref: str | None,
        did: str,
        fault: str | None,
        status: int | None,
    ) -> None:
        self._database.execute(
            "INSERT INTO seen (at, key, external_ref, did, fault, status)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (time.time(), key, external_ref, did, fault, status),
        )

    def create(self, external_ref: str, key: str | None, title: str) -> Ticket:
        now = time.time()
        made = self._database.execute(
            "INSERT INTO ticket (at, external_ref, key, title) VALUES (?, ?, ?, ?)",
            (now, external_ref, key, title),
        )
        return Ticket(int(made.lastrowid or 0), now, external_ref, key, title)

    def first_of(self, key: str | None) -> Ticket | None:
        row = self._database.execute(f"{_TICKETS} WHERE key = ? ORDER BY id", (key,)).fetchone()
        return Ticket(*row) if row else None

    def look(
        self, key: str | None, external_ref: str | None, *, older_than_s: float
    ) -> list[Ticket]:
        """The tickets of a key or a reference, or all of them; the look itself is noted."""
        now = time.time()
        rows = self._database.execute(
            f"{_TICKETS} WHERE (?1 IS NULL OR key = ?1) AND (?2 IS NULL OR external_ref = ?2)"
            " AND at <= ?3 ORDER BY id",
            (key, external_ref, now - older_than_s),
        ).fetchall()
        self._database.execute(
            "INSERT INTO listed VALUES (?, ?, ?, ?)", (now, key, external_ref, len(rows))
        )
        return [Ticket(*row) for row in rows]
