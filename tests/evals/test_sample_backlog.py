"""The sample backlog: how much of it is answered without a person, and how rightly."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from config.settings import settings
from models.share import wilson
from tools.classifier import labelled
from tools.classifier.model import Model
from tools.classifier.training import train

SAMPLES = Path(__file__).parents[2] / "samples"
ANSWERED = 0.5


def rows_of(name: str) -> list[dict[str, str]]:
    with (SAMPLES / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def model() -> Model:
    examples = labelled.read(SAMPLES / "labelled.csv")
    return train(examples, precision=settings().classifier.precision).model


def test_at_least_half_of_the_sample_backlog_is_answered_at_the_precision_claimed(model):
    labels = {row["id"]: row["category"] for row in rows_of("backlog_labels.csv")}
    tickets = rows_of("backlog.csv")

    found = model.predict([f"{row['subject']}\n{row['body']}".strip() for row in tickets])

    told = Counter(
        each.category == labels[row["id"]]
        for row, each in zip(tickets, found, strict=True)
        if each.sure
    )
    low, high = wilson(told[True], told.total())
    precision = told[True] / told.total()
    print(  # noqa: T201  # the figures are what one runs this for
        f"\nsample backlog: {told.total()} of {len(tickets)} answered without a person"
        f" ({told.total() / len(tickets):.1%}) at {precision:.1%} (95 % interval {low:.1%} to"
        f" {high:.1%}), claimed {model.facts.precision:.0%}"
    )
    assert told.total() / len(tickets) >= ANSWERED
    assert precision >= model.facts.precision


def test_nothing_out_of_scope_in_the_sample_backlog_is_answered(model):
    nobodys = {
        row["id"] for row in rows_of("backlog_labels.csv") if row["category"] == "out_of_scope"
    }
    texts = [
        f"{row['subject']}\n{row['body']}".strip()
        for row in rows_of("backlog.csv")
        if row["id"] in nobodys
    ]

    answered = [
        text[:60] for text, each in zip(texts, model.predict(texts), strict=True) if each.sure
    ]

    assert len(answered) <= len(texts) * 0.1, answered
