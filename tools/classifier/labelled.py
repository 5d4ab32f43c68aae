"""Labelled examples: a CSV file of texts and their categories, checked before it is learned."""

import csv
import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tools.classifier.model import OUT_OF_SCOPE

FEWEST_EXAMPLES = 10
"""Of a category: fewer cannot be split into folds that say anything."""
FEWEST_CATEGORIES = 2
LONGEST_CATEGORY = 80
LARGEST_BYTES = 200 * 1024**2
_TEXT = ("text", "body")
_CATEGORY = ("category", "label", "intent")
_SHOWN = 5
_EXCEL = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


class ExamplesUnusable(ValueError):
    """Nothing can be learned from this file; the sentence says why, and what would help."""


@dataclass(frozen=True)
class Labelled:
    """Texts and their categories, each text once."""

    texts: tuple[str, ...]
    categories: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What was left out, in sentences."""

    @property
    def digest(self) -> str:
        """Of the examples as they are, in their order."""
        told = hashlib.sha256()
        for text, category in zip(self.texts, self.categories, strict=True):
            told.update(f"{len(text)}:{text}{len(category)}:{category}".encode())
        return told.hexdigest()


def read(path: Path) -> Labelled:
    """Read a CSV file with the columns `text` and `category`; others are ignored.

    Raises:
        ExamplesUnusable: It is missing, no UTF-8, no such CSV, or has too few examples.
    """
    reader = csv.reader(io.StringIO(_decoded(path), newline=""), strict=True)
    try:
        head = [name.strip().lower() for name in next(reader, [])]
        text, category = _column(head, _TEXT, path), _column(head, _CATEGORY, path)
        rows: list[tuple[int, str, str]] = []
        notes: list[str] = []
        for row in reader:
            if (
                len(row) <= max(text, category)
                or not row[text].strip()
                or not row[category].strip()
            ):
                if row:
                    notes.append(f"line {reader.line_num} has no text or no category: left out")
                continue
            rows.append((reader.line_num, row[text].strip(), row[category].strip()))
    except csv.Error as error:
        raise ExamplesUnusable(f"{path}, line {reader.line_num}: not CSV ({error})") from error
    labelled = _unique(rows, _few(notes, "more lines without text or category"))
    _enough(labelled.categories, path)
    return labelled


def _decoded(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ExamplesUnusable(f"{path} has more than 200 MB: a part of it teaches as much")
        content = path.read_bytes()
    except OSError as error:
        raise ExamplesUnusable(f"{path} cannot be read: {error.strerror}") from error
    if content.startswith(_EXCEL):
        raise ExamplesUnusable(f"{path} is an Excel file: save it as 'CSV UTF-8' and try again")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ExamplesUnusable(
            f"{path}, line {line}: not UTF-8 (byte 0x{content[error.start]:02x}); export it as"
            " UTF-8, or convert it with: iconv -f WINDOWS-1252 -t UTF-8"
        ) from error


def _column(head: list[str], names: Iterable[str], path: Path) -> int:
    for name in names:
        if name in head:
            return head.index(name)
    wanted = " or ".join(repr(name) for name in names)
    found = ", ".join(repr(name) for name in head[:10]) or "nothing"
    raise ExamplesUnusable(f"{path} needs a column {wanted} in its first line, which has {found}")


def _unique(rows: list[tuple[int, str, str]], notes: list[str]) -> Labelled:
    """Each text once: a second copy would be in a fold that claims not to have seen it."""
    said: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for line, text, category in rows:
        said[text].setdefault(category, line)
    torn = [kinds for kinds in said.values() if len(kinds) > 1]
    notes += _few(
        [
            "one text, two categories: "
            + ", ".join(f"{name!r} in line {line}" for name, line in kinds.items())
            + "; left out"
            for kinds in torn
        ],
        "more texts with two categories",
    )
    kept = [(text, next(iter(kinds))) for text, kinds in said.items() if len(kinds) == 1]
    twice = len(rows) - len(kept) - sum(len(kinds) for kinds in torn)
    if twice > 0:
        notes.append(f"{twice} repeated examples are counted once")
    return Labelled(tuple(t for t, _ in kept), tuple(c for _, c in kept), tuple(notes))


def _enough(categories: Iterable[str], path: Path) -> None:
    counts = Counter(categories)
    long = [name for name in counts if len(name) > LONGEST_CATEGORY]
    if long:
        raise ExamplesUnusable(
            f"{path}: a category may have {LONGEST_CATEGORY} characters, not {len(long[0])}"
            f" ({long[0][:40]!r} ...): are the columns the right way round?"
        )
    few = sorted(name for name, count in counts.items() if count < FEWEST_EXAMPLES)
    if few:
        shown = ", ".join(f"{name!r} has {counts[name]}" for name in few[:_SHOWN])
        more = f", and {len(few) - _SHOWN} more" if len(few) > _SHOWN else ""
        raise ExamplesUnusable(
            f"{path}: every category needs at least {FEWEST_EXAMPLES} different examples, better"
            f" 60; {shown}{more}. Add examples, or merge or remove these categories"
        )
    if len(counts.keys() - OUT_OF_SCOPE) < FEWEST_CATEGORIES:
        raise ExamplesUnusable(f"{path} needs examples of at least two categories")


def _few(sentences: list[str], rest: str) -> list[str]:
    hidden = len(sentences) - _SHOWN
    return sentences if hidden <= 0 else [*sentences[:_SHOWN], f"and {hidden} {rest}"]
