"""Tickets that nobody on this project wrote: banking77, split, and clinc150's strangers beside it.

The data stay where they lie: beside the project, or in the folder SLUICE_PUBLIC_DATA names.
"""

import csv
import os
import random
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.conftest import lacking
from tools.classifier.labelled import Labelled
from tools.classifier.model import Model
from tools.classifier.training import train

DATA = Path(os.environ.get("SLUICE_PUBLIC_DATA", Path(__file__).parents[3] / "shared" / "data"))
PRECISION = 0.98
SEED = 77
_TRAINED_ON = 0.7


def rows_of(name: str) -> list[dict[str, str]]:
    path = DATA / name
    if not path.exists():
        lacking("public-data", f"there is no {name} beside the project or in SLUICE_PUBLIC_DATA")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@dataclass(frozen=True)
class Split:
    model: Model
    unseen: list[tuple[str, str]]
    """Text and category."""
    seconds: float


@cache
def split() -> Split:
    """Seven in ten tickets of each category are learned; the rest is never looked at before."""
    by_category = defaultdict(list)
    for row in rows_of("banking77.csv"):
        by_category[row["category"]].append(row["text"])
    learned, unseen = [], []
    for category, texts in sorted(by_category.items()):
        random.Random(SEED).shuffle(texts)  # noqa: S311  # a split, not a secret
        cut = round(len(texts) * _TRAINED_ON)
        learned += [(text, category) for text in texts[:cut]]
        unseen += [(text, category) for text in texts[cut:]]
    examples = Labelled(tuple(t for t, _ in learned), tuple(c for _, c in learned))
    started = time.monotonic()
    model = train(examples, precision=PRECISION).model
    return Split(model, unseen, time.monotonic() - started)


def strangers() -> list[str]:
    """Texts about something else altogether."""
    return [row["text"] for row in rows_of("clinc150.csv") if row["intent"] == "oos"]
