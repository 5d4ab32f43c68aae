"""What a triage came to, in numbers and examples: as many for ten tickets as for a million."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import zip_longest

from producer.triage import Outcome
from producer.triage_results import Result

BINS = 20
_LISTED = 100
"""So many rows of one kind are kept by name; the files hold all."""
_EXAMPLES = 2
_PEOPLE = "person"
_VARIES = re.compile(r"'[^']*'|\d+(?:[.,]\d+)*")
"""What differs between two tickets that go to a person for one reason: numbers, quoted words."""


@dataclass
class Listed:
    """The first of many, and how many there are."""

    count: int = 0
    first: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        self.count += 1
        if len(self.first) < _LISTED:
            self.first.append(result)

    def __iter__(self) -> Iterator[Result]:
        return iter(self.first)

    @property
    def more(self) -> int:
        return self.count - len(self.first)


@dataclass
class Reasons:
    """Sentences counted by what they have in common; where they differ stands an ellipsis."""

    _found: dict[tuple[str, ...], tuple[int, list[str]]] = field(default_factory=dict)

    def add(self, sentence: str) -> None:
        key, own = tuple(_VARIES.split(sentence)), _VARIES.findall(sentence)
        count, before = self._found.get(key, (0, own))
        same = [a if a == b else "…" for a, b in zip(own, before, strict=True)]
        self._found[key] = (count + 1, same)

    def most_common(self, limit: int) -> list[tuple[str, int]]:
        told = [
            ("".join(map("".join, zip_longest(key, values, fillvalue=""))), count)
            for key, (count, values) in self._found.items()
        ]
        return sorted(told, key=lambda each: -each[1])[:limit]


@dataclass
class Tally:
    rows: int = 0
    known: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    listed: defaultdict[Outcome, Listed] = field(default_factory=lambda: defaultdict(Listed))
    categories: defaultdict[str, Counter[Outcome]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    priorities: Counter[str] = field(default_factory=Counter)
    queues: Counter[str] = field(default_factory=Counter)
    deciders: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    reasons: Reasons = field(default_factory=Reasons)
    """Why tickets went to a person."""
    failures: Counter[str] = field(default_factory=Counter)
    confidence: dict[Outcome, list[int]] = field(
        default_factory=lambda: {each: [0] * BINS for each in (Outcome.ANSWERED, Outcome.TO_REVIEW)}
    )
    examples: defaultdict[str, list[Result]] = field(default_factory=lambda: defaultdict(list))
    spent_usd: Decimal = Decimal(0)
    tokens: int = 0
    active_s: float = 0.0
    first_asked: datetime | None = None
    last_finished: datetime | None = None

    def add(self, result: Result) -> None:
        self.rows += 1
        self.outcomes[result.outcome] += 1
        self.known += result.known_before
        if result.outcome is not Outcome.ANSWERED:
            self.listed[result.outcome].add(result)
        if result.run_id:
            self._add_run(result)
        if result.outcome in self.confidence:
            self._add_decision(result)
        if result.outcome is Outcome.TO_REVIEW:
            self.reasons.add(result.why or "no reason given")
        if result.outcome is Outcome.FAILED:
            self.failures[result.why.partition(":")[0]] += 1

    def _add_run(self, result: Result) -> None:
        self.spent_usd += result.spent_usd
        self.tokens += result.tokens
        self.active_s += result.active_s
        if result.asked_at:
            self.first_asked = min(self.first_asked or result.asked_at, result.asked_at)
        if result.finished_at:
            self.last_finished = max(self.last_finished or result.finished_at, result.finished_at)

    def _add_decision(self, result: Result) -> None:
        self.categories[result.category or "none"][result.outcome] += 1
        self.priorities[result.priority or "none"] += 1
        self.queues[result.queue or "none"] += 1
        if result.confidence is not None:
            bins = self.confidence[result.outcome]
            bins[min(int(result.confidence * BINS), BINS - 1)] += 1
        if result.outcome is Outcome.ANSWERED:
            self.deciders[result.decided_by or "unknown"] += 1
            self.actions[result.action or "none"] += 1
            examples = self.examples[result.category]
            if result.reply and len(examples) < _EXAMPLES and result.decided_by != _PEOPLE:
                examples.append(result)

    @property
    def tickets(self) -> int:
        """Rows that are a ticket of their own."""
        return self.rows - self.outcomes[Outcome.LEFT_OUT] - self.outcomes[Outcome.DUPLICATE]

    @property
    def by_itself(self) -> int:
        """Answered without a person."""
        return self.outcomes[Outcome.ANSWERED] - self.deciders[_PEOPLE]

    @property
    def complete(self) -> bool:
        """Every row is answered, was answered before, or waits for a person."""
        fine = (Outcome.ANSWERED, Outcome.TO_REVIEW, Outcome.REJECTED, Outcome.DUPLICATE)
        return self.rows == sum(self.outcomes[each] for each in fine)
