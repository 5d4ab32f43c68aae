"""`triage.csv` and `triage.jsonl`: one line for each row of the backlog, whatever became of it."""

import csv
import os
import re
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import orjson

from producer.triage_results import Result

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?\Z")


def defused(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: an apostrophe goes before = + - @.

    Texts come from outside, and a spreadsheet runs what begins so; a plain number may stay.
    """
    if not isinstance(value, str) or not value.lstrip(" ").startswith(_FORMULA):
        return value
    return value if _NUMBER.match(value) else f"'{value}"


class Replacement:
    """A file that takes its place whole: whoever reads meanwhile, or kills us, sees the old one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
        self.file = self._own.open("w", encoding="utf-8", newline="")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.file.close()
        if error is None:
            self._own.replace(self._path)
        else:
            self._own.unlink(missing_ok=True)


class Table:
    """triage.csv: for people and their spreadsheets; other columns of the backlog pass through."""

    def __init__(self, replacement: Replacement, columns: list[str]) -> None:
        self._writer = csv.writer(replacement.file, lineterminator="\n")
        self._columns = columns
        self._begun = False

    def add(self, result: Result) -> None:
        record = result.record()
        if not self._begun:
            theirs = [f"input_{name}" if name in record else name for name in self._columns]
            self._writer.writerow([*record, *map(defused, theirs)])
            self._begun = True
        passed = [result.row.columns.get(name) for name in self._columns]
        self._writer.writerow([defused(_cell(each)) for each in (*record.values(), *passed)])


class Lines:
    """triage.jsonl: for programs; nothing is defused here."""

    def __init__(self, replacement: Replacement) -> None:
        self._file = replacement.file

    def add(self, result: Result) -> None:
        record = result.record() | {"articles": result.articles, "columns": result.row.columns}
        self._file.write(orjson.dumps(record).decode() + "\n")


def make_folder(path: Path) -> Path:
    """The folder of the results, which can be written to.

    Raises:
        OSError: It cannot.
    """
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(13, "it cannot be written to", str(path))
    return path


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int | float):
        return value
    return orjson.dumps(value).decode()
