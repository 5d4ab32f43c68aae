"""Features: a text as words, pairs of words and pieces of words, the rare ones weighing more."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int32]

READ_CHARS = 4_000
"""This much of a text is read: what a ticket is about stands at its beginning."""
KINDS = 3
LARGEST_KIND = 60_000
"""Columns of one kind; of more, the ones that occur in most texts stay."""
_WINDOW = 8
"""Two words this near to each other are a pair, whatever stands between them."""
_SHORTEST, _LONGEST = 3, 5
_WORD = re.compile(r"\w+")
SEEN_TWICE = 2
"""What occurs in one text only says nothing about another."""


def grams(text: str) -> tuple[Counter[str], ...]:
    """Phrases in order, words with their neighbours in any order, and pieces of words."""
    text = text[:READ_CHARS].lower()
    words = _WORD.findall(text)
    phrases = Counter(words)
    phrases.update(f"{a} {b}" for a, b in pairwise(words))
    phrases.update(f"{a} _ {b}" for a, b in zip(words, words[2:], strict=False))
    return phrases, Counter(_together(words)), Counter(_pieces(text))


def _together(words: Sequence[str]) -> Iterator[str]:
    yield from words
    for at, word in enumerate(words):
        for other in words[at + 1 : at + _WINDOW]:
            yield f"{word}&{other}" if word < other else f"{other}&{word}"


def _pieces(text: str) -> Iterator[str]:
    for word in text.split():
        padded = f" {word} "
        for size in range(_SHORTEST, _LONGEST + 1):
            if len(padded) <= size:
                yield padded
                break
            for at in range(len(padded) - size + 1):
                yield padded[at : at + size]


@dataclass(frozen=True, slots=True)
class Row:
    """A text as the columns it has, and how much of each; every kind of length one."""

    columns: Indices
    values: Floats
    words: int
    """How many distinct words it has, known or not."""


@dataclass(frozen=True)
class Vocabulary:
    """Which features count, and how much. Each kind has a range of columns of its own."""

    kinds: tuple[tuple[str, ...], ...]
    weights: Floats

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where each kind's columns begin, and where the last one's end."""
        sizes = [len(kind) for kind in self.kinds]
        return tuple(sum(sizes[:at]) for at in range(len(sizes) + 1))

    @cached_property
    def is_word(self) -> NDArray[np.bool_]:
        """Of each column, whether it is one single word; those tell how much of a text is known."""
        flags = np.zeros(self.starts[-1], dtype=np.bool_)
        flags[: self.starts[1]] = [" " not in gram for gram in self.kinds[0]]
        return flags

    @cached_property
    def _columns(self) -> tuple[dict[str, int], ...]:
        return tuple(
            {gram: start + at for at, gram in enumerate(kind)}
            for kind, start in zip(self.kinds, self.starts, strict=False)
        )

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Vocabulary":
        """Learn what occurs in at least two texts; the rarer it is, the more it weighs."""
        seen: tuple[Counter[str], ...] = tuple(Counter() for _ in range(KINDS))
        count = 0
        for text in texts:
            count += 1
            for counter, kind in zip(seen, grams(text), strict=True):
                counter.update(kind.keys())
        kinds: list[tuple[str, ...]] = []
        weights: list[float] = []
        for counter in seen:
            often = [gram for gram, times in counter.items() if times >= SEEN_TWICE]
            often.sort(key=lambda gram: (-counter[gram], gram))  # used at once
            kept = often[:LARGEST_KIND]
            kinds.append(tuple(kept))
            weights += [math.log((1 + count) / (1 + counter[gram])) + 1 for gram in kept]
        return cls(tuple(kinds), np.asarray(weights, dtype=np.float32))

    def row(self, text: str) -> Row:
        columns: list[Indices] = [np.empty(0, np.int32)]
        values: list[Floats] = [np.empty(0, np.float32)]
        found = grams(text)
        for known, counts in zip(self._columns, found, strict=True):
            there = [
                (at, times) for gram, times in counts.items() if (at := known.get(gram, -1)) >= 0
            ]
            if there:
                where, times = np.asarray(there, dtype=np.int32).T
                value = (1 + np.log(times.astype(np.float32))) * self.weights[where]
                columns.append(where)
                values.append(value / np.linalg.norm(value))
        words = sum(" " not in gram for gram in found[0])
        return Row(np.concatenate(columns), np.concatenate(values), words)
