"""The classifier on tickets that nobody on this project wrote, and on what is none at all."""

import time

import pytest

from models.share import wilson
from tests.evals.banking import PRECISION, SEED, split, strangers

COVERAGE, TO_A_PERSON = 0.72, 0.85

pytestmark = pytest.mark.timeout(400)  # two cores that others use too


def test_of_unseen_tickets_enough_are_answered_and_as_rightly_as_claimed():
    it = split()
    started = time.monotonic()
    found = it.model.predict([text for text, _ in it.unseen])
    each_ms = (time.monotonic() - started) / len(found) * 1000

    answered = [
        (prediction.category, category)
        for prediction, (_, category) in zip(found, it.unseen, strict=True)
        if prediction.sure
    ]
    right = sum(said == category for said, category in answered)
    coverage, precision = len(answered) / len(found), right / len(answered)
    low, high = wilson(right, len(answered))
    print(  # noqa: T201  # the figures are what one runs this for
        f"\nbanking77, seed {SEED}: {it.model.facts.examples:,} learned in {it.seconds:.0f} s,"
        f" {len(found):,} unseen: {coverage:.1%} answered at {precision:.2%}"
        f" (95 % interval {low:.1%} to {high:.1%}), claimed {it.model.facts.precision:.1%},"
        f" {each_ms:.2f} ms a text"
    )
    assert coverage >= COVERAGE
    assert precision >= PRECISION
    assert precision >= it.model.facts.precision - 0.01
    assert each_ms < 5  # one, on a core of one's own


def test_of_texts_about_something_else_most_go_to_a_person():
    strange = strangers()

    found = split().model.predict(strange)

    share = sum(not each.sure for each in found) / len(found)
    print(f"\nclinc150: {share:.1%} of {len(found)} out-of-scope texts go to a person")  # noqa: T201
    assert len(strange) >= 200
    assert share >= TO_A_PERSON
