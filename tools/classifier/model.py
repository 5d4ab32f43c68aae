"""A model: what training has learned, and how it answers. It needs numpy and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from tools.classifier.features import Floats, Row, Vocabulary

OUT_OF_SCOPE = frozenset({"out_of_scope", "oos"})
"""Categories of examples that are nobody's: texts like these go to a person."""
SUREST = 0.9999
"""A classifier is never certain."""
NEVER = 1.0
"""The threshold of a model whose examples do not carry the precision asked for."""
EVIDENCE = 10
"""How many things `evidence` looks at."""
FLOORED = (5, 8)
"""Of these, nearness and familiarity: what has too little of either is like no example."""
LEAST_SURE = 0.5
"""No threshold is lower, however easy the examples are."""
_STRANGE = 0.4
"""What is like no example is never answered: its confidence stays below every threshold."""
_TEMPERATURE = 3.0
_TELLING, _TELLS, _SHORTEST_TOLD = 3, 0.3, 3
"""Words that are told: so many, with this part of the first one's weight, and so long at least."""
_LEAST = 1e-6


class Facts(BaseModel, extra="forbid", frozen=True):
    """What a model says about itself; it stands in its file in plain JSON."""

    labels: tuple[str, ...] = Field(min_length=2)
    threshold: float = Field(ge=0.5, le=1)
    precision: float = Field(gt=0, lt=1)
    """What is claimed: at least this share of what it answers is right."""
    coverage: float = Field(ge=0, le=1)
    """The share of the examples that it would have answered, unseen."""
    examples: int = Field(gt=0)
    training: str
    """SHA-256 over the examples and the code it was trained with."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model makes of one text."""

    category: str
    """The likeliest one that is not out of scope."""
    confidence: float
    """How likely the category is right."""
    sure: bool
    """At or above the threshold, and in scope."""
    in_scope: bool
    telling: tuple[str, ...]
    """Words that spoke most for the category."""


def evidence(
    scores: Floats, similar: Floats, known: NDArray[Any], words: Floats
) -> NDArray[np.float64]:
    """What tells a right answer from a wrong one, a row for each text.

    How far the best score stands above the others, whether the nearest centre of a category
    agrees, how many of the words occurred in the examples at all, and how many there are.
    """
    order = np.sort(scores, axis=1).astype(np.float64)
    best = scores.argmax(axis=1)
    third = order[:, -min(3, order.shape[1])]
    chances = np.exp(_TEMPERATURE * (order - order[:, -1:]))
    top = 1 / chances.sum(axis=1)
    near = np.sort(similar, axis=1)
    own = similar[np.arange(len(best)), best]
    agrees = similar.argmax(axis=1) == best
    return np.stack(
        [
            order[:, -1],
            order[:, -1] - order[:, -2],
            order[:, -1] - third,
            top,
            np.log(top / (1 - top + _LEAST)),
            own,
            own - np.where(agrees, near[:, -2], near[:, -1]),
            agrees.astype(np.float64),
            known,
            np.log(np.maximum(words, 1)),
        ],
        axis=1,
    )


@dataclass(frozen=True)
class Calibration:
    """Turns evidence into the chance of being right: a logistic curve, learned on unseen folds."""

    weights: NDArray[np.float64]
    offset: float
    floors: NDArray[np.float64]
    """How near to its category's centre, and how familiar, the least of the right answers were."""

    def chance(self, seen: NDArray[np.float64]) -> NDArray[np.float64]:
        odds = np.clip(seen @ self.weights + self.offset, -30, 30)
        strange = (seen[:, FLOORED] < self.floors).any(axis=1)
        chances = np.where(strange, _STRANGE, 1.0) / (1 + np.exp(-odds))
        kept: NDArray[np.float64] = np.clip(chances, 1 - SUREST, SUREST)
        return kept


@dataclass(frozen=True)
class Model:
    facts: Facts
    vocabulary: Vocabulary
    coefficients: Floats
    """A row for each column of the vocabulary, a column for each label."""
    intercept: Floats
    centres: Floats
    calibration: Calibration
    hash: str
    """Of everything it says: two models with one hash answer alike."""

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Answer; half a millisecond a text on one core, with the interpreter's lock held."""
        if not texts:
            return []
        rows = [self.vocabulary.row(text) for text in texts]
        scores = np.stack([self._sum(row, self.coefficients) for row in rows]) + self.intercept
        similar = np.stack([self._sum(row, self.centres) for row in rows])
        words = np.asarray([row.words for row in rows], dtype=np.float32)
        flags = self.vocabulary.is_word
        familiar = np.asarray([flags[row.columns].sum() for row in rows], dtype=np.float32)
        seen = evidence(scores, similar, familiar / np.maximum(words, 1), words)
        chances = self.calibration.chance(seen)
        return [
            self._answer(row, score, float(chance))
            for row, score, chance in zip(rows, scores, chances, strict=True)
        ]

    def _sum(self, row: Row, matrix: Floats) -> Floats:
        total: Floats = row.values @ matrix[row.columns]
        return total

    def _answer(self, row: Row, scores: Floats, chance: float) -> Prediction:
        labels = self.facts.labels
        best = int(scores.argmax())
        in_scope = labels[best] not in OUT_OF_SCOPE
        if not in_scope:  # the best of the others, as likely as that it is not out of scope
            ours = [at for at, label in enumerate(labels) if label not in OUT_OF_SCOPE]
            best = max(ours, key=lambda at: float(scores[at]))
            chance = min(1 - chance, self.facts.threshold / 2)
        return Prediction(
            category=labels[best],
            confidence=round(chance, 4),
            sure=in_scope and chance >= self.facts.threshold,
            in_scope=in_scope,
            telling=self._telling(row, best),
        )

    def _telling(self, row: Row, label: int) -> tuple[str, ...]:
        words = self.vocabulary.is_word[row.columns]
        columns = row.columns[words]
        share = row.values[words] * self.coefficients[columns, label]
        most = np.argsort(-share, kind="stable")[:_TELLING]
        names = self.vocabulary.kinds[0]
        told = [(names[columns[at]], share[at]) for at in most]
        return tuple(
            word
            for word, part in told
            if part > _TELLS * told[0][1] > 0 and len(word) >= _SHORTEST_TOLD
        )
