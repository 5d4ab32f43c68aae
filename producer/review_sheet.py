"""Reviews as a spreadsheet: exported, decided by a person in the column `verdict`, imported."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from models.request import Malformed, read_json
from models.review import ReviewKind, Verdict
from producer.redacted import said, shown
from producer.rows import Fault, rows
from producer.triage_files import Replacement, defused

_ANSWER = "answer."
"""Before the names of the columns that may be edited."""
_TEXT_CHARS = 1_000
_HEAD = ("review", "verdict", "note", "kind", "question", "ticket", "subject", "text")
_CALLS = frozenset({ReviewKind.APPROVAL, ReviewKind.PROPOSAL})
_THOUSANDS = re.compile(r"-?[1-9]\d{0,2}(,\d{3})+")
_WORDS = {
    "approve": Verdict.APPROVED,
    "approved": Verdict.APPROVED,
    "edit": Verdict.EDITED,
    "edited": Verdict.EDITED,
    "reject": Verdict.REJECTED,
    "rejected": Verdict.REJECTED,
}


class BadSheet(ValueError):
    """The sheet cannot be taken; the sentence names row and column. Nothing was decided."""


class Decided(NamedTuple):
    """One line of a sheet that a person has filled in."""

    place: str
    review: UUID
    verdict: Verdict
    note: str | None
    edits: dict[str, str]
    """Cells of the answer, as they stand in the sheet."""

    def answer(self, proposal: Any, kind: str | None = None) -> tuple[Verdict, Any]:
        """The verdict, and the edited answer; an approved line that was changed is an edit.

        Raises:
            BadSheet: A call was changed and not said to be: spreadsheets change 007 by themselves.
        """
        if self.verdict is Verdict.REJECTED or not isinstance(proposal, dict):
            return self.verdict, None
        changed = {
            name: _typed(text, proposal[name], self.place, name)
            for name, text in self.edits.items()
            if name in proposal and _alike(text) != _alike(_cell(proposal[name]))
        }
        if not changed and self.verdict is Verdict.APPROVED:
            return Verdict.APPROVED, None
        if kind in _CALLS and self.verdict is Verdict.APPROVED:
            raise BadSheet(
                f"{self.place}: the verdict is approve, but {', '.join(changed)} of the call"
                " changed: put it back, or let the verdict be edit"
            )
        return Verdict.EDITED, proposal | changed


def export(path: Path, reviews: Sequence[Any]) -> None:
    """Write open reviews with an empty column `verdict`; formulas are defused, secrets hidden."""
    proposals = [shown(each["proposal"]) for each in reviews]
    names: list[str] = []
    for proposal in proposals:
        fields = proposal if isinstance(proposal, dict) else {}
        names += [n for n, v in fields.items() if n not in names and not isinstance(v, list | dict)]
    with Replacement(path) as replacement:
        writer = csv.writer(replacement.file, lineterminator="\n")
        writer.writerow([*_HEAD, *(_ANSWER + name for name in names)])
        for review, proposal in zip(reviews, proposals, strict=True):
            fields = proposal if isinstance(proposal, dict) else {}
            told = (review["question"], review["ticket"], review["subject"], review["text"])
            cells = [review["id"], "", "", review["kind"], *(said(each) or "" for each in told)]
            cells += [_cell(fields.get(name)) for name in names]
            writer.writerow(
                [defused(str(each)[:_TEXT_CHARS]) for each in cells[: len(_HEAD)]]
                + [defused(each) for each in cells[len(_HEAD) :]]
            )


def decided(path: Path) -> Iterator[Decided]:
    """The lines that have a verdict; those without stay open.

    Raises:
        BadSheet: A line cannot be understood.
        UnreadableBacklog: The file cannot.
    """
    for raw in rows(path, _check_header):
        if isinstance(raw.fields, Fault):
            raise BadSheet(f"row {raw.row}: {raw.fields}")
        word = str(raw.fields.get("verdict") or "").strip().lower()
        if not word:
            continue
        if word not in _WORDS:
            raise BadSheet(f"row {raw.row}, verdict: {word!r} is none of approve, edit, reject")
        try:
            review = UUID(str(raw.fields["review"]).strip())
        except ValueError:
            raise BadSheet(f"row {raw.row}, review: is no review's id") from None
        edits = {
            name.removeprefix(_ANSWER): _armed(str(value or ""))
            for name, value in raw.fields.items()
            if name.startswith(_ANSWER)
        }
        note = str(raw.fields.get("note") or "").strip() or None
        yield Decided(f"row {raw.row}", review, _WORDS[word], note, edits)


def _check_header(names: list[str]) -> None:
    if not {"review", "verdict"} <= set(names):
        raise BadSheet("the first line must name the columns `review` and `verdict`")


def _armed(text: str) -> str:
    """Undoes `defused`."""
    return text[1:] if text.startswith("'") and defused(text[1:]) == text else text


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _alike(text: str) -> str:
    """Spreadsheets write line ends and outer blanks as they like."""
    return text.replace("\r\n", "\n").strip()


def _typed(text: str, before: Any, place: str, name: str) -> Any:
    """A cell as the kind of value that stood there before."""
    if before is None or isinstance(before, str):
        return text or before
    try:
        if _THOUSANDS.fullmatch(text.strip()):
            raise Malformed("1,000 may be one or a thousand")
        value = read_json(text.strip().lower().replace(",", ".").encode())
    except Malformed:
        raise BadSheet(
            f"{place}, {_ANSWER}{name}: {text!r} is no {type(before).__name__}"
        ) from None
    return value
