"""The rows of a CSV or JSON Lines file, however it was saved; what is wrong costs its row alone."""

import csv
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

FIELD_CHARS = 32 * 1024 * 1024
"""A CSV field longer than this is given up."""
_LOOKED_AT = 64 * 1024
_BINARY = {
    b"PK\x03\x04": "an Excel or ZIP file; save it as CSV (UTF-8) first",
    b"\xd0\xcf\x11\xe0": "an old Excel file; save it as CSV (UTF-8) first",
    b"%PDF": "a PDF; export the tickets as CSV or JSON Lines",
    b"\x1f\x8b": "compressed (gzip); unpack it first",
}
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_JSON_SUFFIXES = frozenset({".jsonl", ".ndjson"})
_DELIMITERS = ",;\t|"


class UnreadableBacklog(Exception):
    """The file as a whole is of no use; the sentence says why and what to do."""


class Fault(NamedTuple):
    """Why a row is left out, in words that let a person mend it."""

    column: str
    why: str

    def __str__(self) -> str:
        return f"{self.column} {self.why}" if self.column else self.why


class Raw(NamedTuple):
    """A row as it stands in the file."""

    row: int
    """As a spreadsheet counts: the header of a CSV file is row 1."""
    line: int
    """As an editor counts; texts with line breaks make it run ahead of `row`."""
    fields: dict[str, Any] | Fault


def rows(path: Path, check_header: Callable[[list[str]], None]) -> Iterator[Raw]:
    """Every row of a file, one at a time, in the encoding and with the separator it has.

    The names in the first line of a CSV file are shown to `check_header`, which may raise.

    Raises:
        UnreadableBacklog: No such file, no text, or no header.
    """
    encoding, json = _look_at(path)
    try:
        # A stray byte must cost its row alone, so it travels on as half a surrogate pair.
        errors = "surrogateescape" if encoding == "utf-8-sig" else "replace"
        newline = "\n" if json else ""  # in JSON Lines, U+2028 ends no line
        with path.open(encoding=encoding, errors=errors, newline=newline) as file:
            yield from _json_lines(file) if json else _csv_rows(path, file, check_header)
    except OSError as error:
        raise UnreadableBacklog(f"{path} cannot be read: {error.strerror}") from error


def _look_at(path: Path) -> tuple[str, bool]:
    """The encoding, and whether it is JSON Lines, from the first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(_LOOKED_AT)
    except OSError as error:
        raise UnreadableBacklog(f"{path} cannot be read: {error.strerror}") from error
    for magic, what in _BINARY.items():
        if head.startswith(magic):
            raise UnreadableBacklog(f"{path} is {what}")
    encoding = "utf-16" if head.startswith(_UTF_16) else "utf-8-sig"
    if encoding == "utf-8-sig" and head.count(0) > len(head) // 10:
        raise UnreadableBacklog(
            f"{path} is no UTF-8 text: every tenth byte is NUL; if it is UTF-16, convert it with"
            " `iconv -f utf-16le -t utf-8`"
        )
    text = head.decode(encoding, errors="replace").strip()
    if not text:
        raise UnreadableBacklog(f"{path} is empty")
    if text.startswith("["):
        raise UnreadableBacklog(
            f"{path} is one JSON array; make it one object per line with `jq -c '.[]'`"
        )
    return encoding, path.suffix.lower() in _JSON_SUFFIXES or text.startswith("{")


def _json_lines(file: Iterable[str]) -> Iterator[Raw]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            fields = orjson.loads(line.encode("utf-8", "surrogateescape"))
        except orjson.JSONDecodeError as error:
            yield Raw(number, number, Fault("", f"this is no JSON: {error}"))
            continue
        except UnicodeEncodeError:  # pragma: no cover  # UTF-16 with half a pair
            fields = None
        if not isinstance(fields, dict):
            fields = Fault("", "a ticket is a JSON object")
        yield Raw(number, number, fields)


class _Lines:
    """Lines that can be read once more: what a broken record swallowed may be good rows."""

    def __init__(self, file: Iterator[str]) -> None:
        self._file = file
        self._again: deque[str] = deque()
        self._taken: list[str] = []
        self.number = 0
        """Of the line that was read last."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._file)
        self._taken.append(line)
        self.number += 1
        return line

    def keep(self) -> None:
        self._taken.clear()

    def go_back(self) -> None:
        """To the second line of what was taken since `keep`."""
        self._again.extendleft(reversed(self._taken[1:]))
        self.number -= len(self._taken) - 1
        self._taken.clear()


def _csv_rows(
    path: Path, file: Iterable[str], check_header: Callable[[list[str]], None]
) -> Iterator[Raw]:
    csv.field_size_limit(FIELD_CHARS)
    lines = _Lines(iter(file))
    header = next((line for line in lines if line.strip()), "")
    delimiter = max(_DELIMITERS, key=header.count)
    start = lines.number
    reader = csv.reader(itertools.chain([header], lines), delimiter=delimiter, strict=True)
    try:
        names = _distinct([name.strip().lstrip("\ufeff") for name in next(reader)])
    except csv.Error as error:
        raise UnreadableBacklog(f"{path}: the header in line {start} is no CSV: {error}") from None
    check_header(names)
    row = 1
    while True:
        lines.keep()
        start = lines.number + 1
        row += 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            why = f"the quotation marks of this row do not match ({error})"
            yield Raw(row, start, Fault("", why))
            lines.go_back()
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            continue
        if any(value.strip() for value in values):
            yield Raw(row, start, _fields(names, values))


def _fields(names: list[str], values: list[str]) -> dict[str, Any] | Fault:
    if len(values) == len(names):
        return dict(zip(names, values, strict=True))
    return Fault(
        "",
        f"has {len(values)} fields where the header names {len(names)}: a separator or a"
        " quotation mark is missing or one too many",
    )


def _distinct(names: list[str]) -> list[str]:
    """Columns of the same name, or of none, are told apart by their place."""
    found: list[str] = []
    for place, name in enumerate(names, start=1):
        own = name or f"column {place}"
        found.append(f"{own} ({place})" if own in found else own)
    return found
