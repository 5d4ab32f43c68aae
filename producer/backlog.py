"""A backlog: tickets in a CSV or JSON Lines file; an unusable row is told and left out."""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import orjson

from producer.rows import Fault, Raw, UnreadableBacklog, rows

ID_CHARS, SUBJECT_CHARS, TEXT_CHARS, DATE_CHARS = 150, 1_000, 100_000, 40
_NAMES = {
    "id": ("id", "ticket_id"),
    "subject": ("subject", "title"),
    "text": ("text", "body", "description", "message"),
    "created_at": ("created_at", "created"),
}
"""What a column may be called, in any case; the first that is there counts."""
_COLUMNS_KEPT = 200
_BLOCK_BYTES = 256 * 1024


class Ticket(NamedTuple):
    id: str
    subject: str
    text: str
    created_at: str | None

    @property
    def digest(self) -> bytes:
        """Tells whether two rows of one id say the same."""
        told = orjson.dumps([self.subject, self.text, self.created_at])
        return hashlib.blake2b(told, digest_size=8).digest()


class Use(StrEnum):
    """What can be done with a row."""

    TICKET = "ticket"
    BAD = "bad"
    TWICE = "twice"  # an earlier row says exactly the same
    CLASH = "clash"  # an earlier row has its id, and another text


class Row(NamedTuple):
    """One row of the file, usable or not."""

    row: int
    line: int
    use: Use
    ticket: Ticket
    """Of a bad row, what could be read of it."""
    why: str
    """Why it is no ticket of its own; empty for one."""
    columns: dict[str, Any]
    """Those that triage does not read: they pass through."""

    @property
    def place(self) -> str:
        """Where to look: spreadsheets count rows, editors count lines."""
        return f"row {self.row}" + (f" (line {self.line})" if self.line != self.row else "")


class Backlog:
    """The rows of a file in a spool on disk: read once, whatever becomes of the file meanwhile.

    In memory stays a hash for each id, and nothing that grows with the texts.
    """

    def __init__(self) -> None:
        self._spool = tempfile.TemporaryFile(prefix="sluice-backlog-")  # noqa: SIM115  # closed on exit
        self.uses: Counter[Use] = Counter()
        self.columns: list[str] = []
        """Of those that pass through, in the order they were met."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._spool.close()

    def __iter__(self) -> Iterator[Row]:
        """Every row in the order of the file, as often as one likes."""
        at = 0
        while True:
            self._spool.seek(at)
            lines = self._spool.readlines(_BLOCK_BYTES)
            if not lines:
                return
            at = self._spool.tell()
            for line in lines:
                row, number, use, ticket, why, columns = orjson.loads(line)
                yield Row(row, number, Use(use), Ticket(*ticket), why, columns)

    def tickets(self) -> Iterator[Ticket]:
        return (row.ticket for row in self if row.use is Use.TICKET)

    def add(self, row: Row) -> None:
        self.uses[row.use] += 1
        if len(self.columns) < _COLUMNS_KEPT:
            self.columns += [name for name in row.columns if name not in self.columns]
        self._spool.write(orjson.dumps(row, default=tuple) + b"\n")


def read(path: Path) -> Backlog:
    """Read every row of a file; the caller closes the backlog.

    Raises:
        UnreadableBacklog: No such file, no text, or no column for ids or texts.
    """
    backlog = Backlog()
    first: dict[bytes, tuple[int, bytes]] = {}
    try:
        for raw in rows(path, _check_header):
            backlog.add(_classed(raw, first))
        if not backlog.uses:
            raise UnreadableBacklog(f"{path} has a header and no rows")
    except BaseException:
        backlog.__exit__(None, None, None)
        raise
    return backlog


def _classed(raw: Raw, first: dict[bytes, tuple[int, bytes]]) -> Row:
    if isinstance(raw.fields, Fault):
        return Row(raw.row, raw.line, Use.BAD, Ticket("", "", "", None), str(raw.fields), {})
    named = {name.strip().lower(): name for name in reversed(list(raw.fields))}
    picked = {what: _column(named, what) for what in _NAMES}
    columns = {
        name: _clean(value) for name, value in raw.fields.items() if name not in picked.values()
    }
    values = {what: raw.fields[name] for what, name in picked.items() if name is not None}
    fault = next((found for what in _NAMES if (found := _fault(what, values.get(what)))), None)
    if fault is not None:
        column = picked[fault.column] or fault.column
        rest = Ticket(*(_shown(values.get(what)) for what in _NAMES))
        return Row(raw.row, raw.line, Use.BAD, rest, f"{column} {fault.why}", columns)
    ticket = Ticket(
        str(values["id"]).strip(),
        (values.get("subject") or "").strip(),
        values["text"],
        str(values["created_at"]).strip() or None if values.get("created_at") else None,
    )
    mark = hashlib.blake2b(ticket.id.encode(), digest_size=12).digest()
    earlier, digest = first.setdefault(mark, (raw.row, ticket.digest))
    if earlier == raw.row:
        return Row(raw.row, raw.line, Use.TICKET, ticket, "", columns)
    if digest == ticket.digest:
        return Row(raw.row, raw.line, Use.TWICE, ticket, f"the same as row {earlier}", columns)
    why = f"id {ticket.id!r} stands in row {earlier} with another text; the first one counts"
    return Row(raw.row, raw.line, Use.CLASH, ticket, why, columns)


def _check_header(names: list[str]) -> None:
    found = {name.lower(): name for name in names}
    if _column(found, "id") is None or _column(found, "text") is None:
        raise UnreadableBacklog(
            f"the first line must name a column `id` and one of {', '.join(_NAMES['text'])};"
            f" it names {', '.join(map(repr, names))[:300]}"
        )


def _column(named: dict[str, str], what: str) -> str | None:
    return next((named[each] for each in _NAMES[what] if each in named), None)


def _fault(what: str, value: Any) -> Fault | None:
    """Why a pipeline could not take this value, or None."""
    empty = value is None or (isinstance(value, str) and not value.strip())
    if empty:
        missing = {"id": "is missing", "text": "is empty"}.get(what)
        return Fault(what, missing) if missing else None
    number = what in {"id", "created_at"} and type(value) in {int, float}
    if not isinstance(value, str) and not number:
        return Fault(what, f"is no text but {type(value).__name__}")
    text = str(value)
    if "\0" in text:
        return Fault(what, "holds a NUL byte")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) & 0xFF
        return Fault(
            what,
            f"holds the byte 0x{byte:02x}, which is no UTF-8; convert the file, for example with"
            " `iconv -f cp1252 -t utf-8`",
        )
    limit = {"id": ID_CHARS, "subject": SUBJECT_CHARS, "text": TEXT_CHARS}.get(what, DATE_CHARS)
    if len(text.strip() if what != "text" else text) > limit:
        return Fault(what, f"has {len(text):,} characters; at most {limit:,} fit")
    return None


def _shown(value: Any) -> str:
    """What a bad row is listed with: short, and nothing that breaks a file."""
    return str(_clean(value) if value is not None else "")[:ID_CHARS].replace(
        "\0", "\N{REPLACEMENT CHARACTER}"
    )


def _clean(value: Any) -> Any:
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return value
