"""Training: learn the categories, and on folds never seen how sure is sure enough.

The one file that imports scikit-learn (a second, 90 MB). Nothing imports this module by its
name at the top: `sluice train` and the process that makes the sample model load it when asked.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import LinearSVC

from tools.classifier.features import SEEN_TWICE, Floats, Row, Vocabulary
from tools.classifier.labelled import Labelled
from tools.classifier.model import (
    EVIDENCE,
    FLOORED,
    LEAST_SURE,
    NEVER,
    OUT_OF_SCOPE,
    Calibration,
    Facts,
    Model,
    evidence,
)
from tools.classifier.modelfile import same
from tools.classifier.provenance import training_hash
from tools.classifier.threshold import Threshold, aim, lowest

FOLDS = 5
_MANY = 3_000
"""From so many examples on, processes save more time than they take to start."""
_PROCESSES = min(4, os.cpu_count() or 1)
_SEED = 7
_TOLERANCE = 0.1
"""Of the margin's solver: ten times finer changed no figure and took twice as long."""
_TWO = 2
_LEAST = 1e-9
_SURE = 5.0
_LEAST_OF = 0.005
"""Of the right answers, so many may fall below the floors."""

Progress = Callable[[str, float], None]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Outcome:
    """A model, and what it would have made of its own examples, had it not seen them."""

    model: Model
    truth: Labels
    guess: Labels
    confidence: NDArray[np.float64]
    threshold: Threshold | None

    @property
    def answered(self) -> NDArray[np.bool_]:
        in_scope = np.asarray([label not in OUT_OF_SCOPE for label in self.model.facts.labels])
        chosen: NDArray[np.bool_] = in_scope[self.guess]
        return chosen & (self.confidence >= self.model.facts.threshold)


@dataclass(frozen=True)
class _Fitted:
    """What one part of the examples teaches; a row for each column, a column for each label."""

    coefficients: Floats
    intercept: Floats
    centres: Floats


@dataclass(frozen=True)
class _Lesson:
    """The examples as numbers."""

    labels: tuple[str, ...]
    truth: Labels
    vocabulary: Vocabulary
    matrix: Any
    words: Floats

    @classmethod
    def of(cls, examples: Labelled) -> "_Lesson":
        labels = tuple(sorted(set(examples.categories)))
        vocabulary = Vocabulary.of(examples.texts)
        rows = [vocabulary.row(text) for text in examples.texts]
        return cls(
            labels,
            np.searchsorted(np.asarray(labels), np.asarray(examples.categories)),
            vocabulary,
            _matrix(rows, vocabulary),
            np.asarray([row.words for row in rows], dtype=np.float32),
        )

    def unseen(
        self, fitted: _Fitted, part: Labels, held: Labels
    ) -> tuple[Labels, NDArray[np.float64]]:
        """What a fold makes of the texts held back from it, as if their words were new to it."""
        often = np.asarray((self.matrix[part] > 0).sum(axis=0)).ravel() >= SEEN_TWICE
        rows = _one_long(self.matrix[held] @ diags(often.astype(np.float32)), self.vocabulary)
        words = self.words[held]
        familiar = np.asarray((rows > 0) @ (self.vocabulary.is_word & often).astype(np.float32))
        scores = np.asarray(rows @ fitted.coefficients) + fitted.intercept
        similar = np.asarray(rows @ fitted.centres)
        known = familiar / np.maximum(words, 1)
        return scores.argmax(axis=1), evidence(scores, similar, known, words)


def train(
    examples: Labelled, *, precision: float, progress: Progress = lambda _what, _share: None
) -> Outcome:
    """Learn a model that answers what it can at this precision, and leaves the rest to people."""
    progress("reading the examples", 0.0)
    lesson = _Lesson.of(examples)
    fitted, guess, seen = _learn(lesson, progress)
    progress("choosing the threshold", 1.0)
    right = guess == lesson.truth
    calibration = _calibrate(seen, right)
    confidence = calibration.chance(seen)
    answers = np.asarray([label not in OUT_OF_SCOPE for label in lesson.labels])[guess]
    threshold = lowest(confidence[answers], right[answers], aim(precision))
    facts = Facts(
        labels=lesson.labels,
        threshold=max(threshold.value, LEAST_SURE) if threshold else NEVER,
        precision=precision,
        coverage=threshold.answered / len(right) if threshold else 0.0,
        examples=len(right),
        training=training_hash(examples.digest, precision),
    )
    model = Model(
        facts=facts,
        vocabulary=lesson.vocabulary,
        coefficients=fitted.coefficients,
        intercept=fitted.intercept,
        centres=fitted.centres,
        calibration=calibration,
        hash="",
    )
    return Outcome(same(model), lesson.truth, guess, confidence, threshold)


def _learn(lesson: _Lesson, progress: Progress) -> tuple[_Fitted, Labels, NDArray[np.float64]]:
    """Fit on everything; and on each fold's rest, to see what that makes of the fold."""
    truth = lesson.truth
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=_SEED).split(truth, truth))
    guess = np.zeros_like(truth)
    seen = np.zeros((len(guess), EVIDENCE))
    with _side_by_side(len(truth)) as fit_all:
        parts = [*(part for part, _ in folds), np.arange(len(truth))]
        fits = iter(fit_all(partial(_fit, lesson), parts))
        for number, (part, held) in enumerate(folds, start=1):
            guess[held], seen[held] = lesson.unseen(next(fits), part, held)
            progress(f"fold {number} of {FOLDS}", number / (FOLDS + 1))
        return next(fits), guess, seen


@contextmanager
def _side_by_side(count: int) -> Iterator[Callable[..., Iterable[_Fitted]]]:
    """`map`, in processes where that pays: in threads the solver's dice would be shared."""
    if count < _MANY or (os.cpu_count() or 1) == 1:
        yield map
        return
    with ProcessPoolExecutor(_PROCESSES, mp_context=get_context("spawn")) as processes:
        yield processes.map


def _fit(lesson: _Lesson, part: Labels) -> _Fitted:
    rows, own, count = lesson.matrix[part], lesson.truth[part], len(lesson.labels)
    machine = LinearSVC(C=1.0, tol=_TOLERANCE, random_state=_SEED).fit(rows, own)
    weights, intercept = machine.coef_, machine.intercept_
    if count == _TWO:  # scikit-learn then has one row, for the second label
        weights, intercept = np.vstack([-weights, weights]), np.append(-intercept, intercept)
    places = (own, np.arange(len(part)))
    member = csr_matrix((np.ones(len(part), np.float32), places), shape=(count, len(part)))
    centres = (member @ rows).toarray()
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), _LEAST)
    return _Fitted(
        np.ascontiguousarray(weights.T, dtype=np.float32),
        intercept.astype(np.float32),
        np.ascontiguousarray(centres.T, dtype=np.float32),
    )


def _matrix(rows: Sequence[Row], vocabulary: Vocabulary) -> Any:
    return csr_matrix(
        (
            np.concatenate([row.values for row in rows]),
            np.concatenate([row.columns for row in rows]),
            np.cumsum([0, *(len(row.columns) for row in rows)]),
        ),
        shape=(len(rows), vocabulary.starts[-1]),
    )


def _one_long(rows: Any, vocabulary: Vocabulary) -> Any:
    """Every kind of feature of every row at length one again."""
    rows = rows.tocsr()
    squares = rows.multiply(rows)
    scale = np.ones(rows.nnz, dtype=np.float32)
    at = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    for start, end in pairwise(vocabulary.starts):
        length = np.sqrt(np.asarray(squares[:, start:end].sum(axis=1)).ravel())
        here = (rows.indices >= start) & (rows.indices < end)
        scale[here] = 1 / np.maximum(length[at[here]], _LEAST)
    rows.data *= scale
    return rows


def _calibrate(seen: NDArray[np.float64], right: NDArray[np.bool_]) -> Calibration:
    columns = seen[:, FLOORED]
    floors = np.quantile(columns[right], _LEAST_OF, axis=0) if right.any() else columns.min(axis=0)
    if right.all() or not right.any():
        sure = _SURE if right.all() else -_SURE
        return Calibration(np.zeros(seen.shape[1]), sure, floors)
    mean, spread = seen.mean(axis=0), seen.std(axis=0) + _LEAST
    curve = LogisticRegression(C=1.0, max_iter=2_000).fit((seen - mean) / spread, right)
    weights = curve.coef_[0] / spread
    return Calibration(weights, float(curve.intercept_[0] - mean @ weights), floors)
