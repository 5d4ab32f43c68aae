"""The report of a training: what the model answers, how often rightly, and what goes to people."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.share import wilson
from tools.classifier.model import OUT_OF_SCOPE

_WORST = 8
_NAME_CHARS = 40


def show(console: Console, outcome: Any, notes: Sequence[str]) -> None:
    """Print what was measured on folds that the model had not seen."""
    for note in notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    for line in summary(outcome):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print()
    console.print(_categories(outcome))
    mistakes = _confusions(outcome)
    if mistakes is not None:
        console.print()
        console.print(mistakes)


def summary(outcome: Any) -> list[str]:
    """The figures that decide whether to use the model, in sentences."""
    facts, answered = outcome.model.facts, outcome.answered
    count, right = len(outcome.truth), outcome.truth == outcome.guess
    ours = len(set(facts.labels) - OUT_OF_SCOPE)
    lines = [
        f"{count:,} examples of {ours} categories; without a threshold {_share(right)} are right",
    ]
    if outcome.threshold is None:
        best = _share(right[outcome.confidence >= np.quantile(outcome.confidence, 0.9)])
        lines.append(
            f"no threshold reaches {facts.precision:.1%} on texts it had not seen (of the tenth it"
            f" is surest of, {best} are right): it would answer nothing. Give it more examples,"
            " clearer categories, or a lower --precision"
        )
        return lines
    hits, said = int(right[answered].sum()), int(answered.sum())
    low, high = wilson(hits, said)
    few, many = wilson(said, count)
    lines.append(
        f"claimed: at least {facts.precision:.1%} of its answers are right; measured:"
        f" {hits / said:.1%} of {said:,} (95 % interval {low:.1%} to {high:.1%})"
    )
    lines.append(
        f"answers {said / count:.1%} of texts like these (95 % interval {few:.1%} to {many:.1%}),"
        f" those it is at least {facts.threshold:.1%} sure of; the rest goes to a person"
    )
    return [*lines, *_nobodys(outcome)]


def _nobodys(outcome: Any) -> list[str]:
    labels = outcome.model.facts.labels
    out = np.asarray([label in OUT_OF_SCOPE for label in labels])[outcome.truth]
    if not out.any():
        return [
            "no examples of what nobody handles: rows of the category out_of_scope would teach it"
        ]
    kept = int((~outcome.answered[out]).sum())
    return [f"out of scope: {kept} of {int(out.sum())} examples go to a person"]


def _categories(outcome: Any) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("category", overflow="fold")
    for name in ("examples", "answered", "right of those", "to a person"):
        table.add_column(name, justify="right")
    right = outcome.truth == outcome.guess
    for at, label in enumerate(outcome.model.facts.labels):
        own, said = outcome.truth == at, outcome.answered & (outcome.guess == at)
        table.add_row(
            Text(label[:_NAME_CHARS]),
            f"{int(own.sum()):,}",
            "never" if label in OUT_OF_SCOPE else _share(outcome.answered[own]),
            _share(right[said]) if said.any() else "",
            _share(~outcome.answered[own]),
        )
    return table


def _confusions(outcome: Any) -> Table | None:
    """What was answered wrongly first, for that is what customers would see."""
    wrong = outcome.truth != outcome.guess
    pairs = list(zip(outcome.truth[wrong], outcome.guess[wrong], strict=True))
    if not pairs:
        return None
    answered = Counter(
        pair for pair, said in zip(pairs, outcome.answered[wrong], strict=True) if said
    )
    every = Counter(pairs)
    worst = sorted(every, key=lambda pair: (-answered[pair], -every[pair], pair))[:_WORST]
    table = Table(box=None, pad_edge=False)
    for name in ("is", "was taken for"):
        table.add_column(name, overflow="fold")
    for name in ("times", "answered so"):
        table.add_column(name, justify="right")
    labels = outcome.model.facts.labels
    for is_, taken in worst:
        table.add_row(
            Text(labels[is_][:_NAME_CHARS]),
            Text(labels[taken][:_NAME_CHARS]),
            str(every[is_, taken]),
            str(answered[is_, taken]),
        )
    return table


def _share(flags: Any) -> str:
    return f"{float(np.mean(flags)):.1%}" if len(flags) else ""
