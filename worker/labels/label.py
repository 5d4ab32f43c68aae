"""Labels: what is known of where a value comes from, kept beside it by JSON pointer.

A text carries no label of its own: after a parse, a join or an f-string it is a plain text. So a
pipeline binds arguments by reference (worker/labels/binding.py), and what it passes as a plain
value counts as chosen by text from outside, up to what the argument's type lets that text choose.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tools.trust import Trust


class Label(NamedTuple):
    """Of one value."""

    trust: Trust
    bits: Mapping[str, float] = {}
    """Places at which text from outside chose among few, `classify:/category`, each with how many
    bits it may have chosen there."""
    sources: frozenset[str] = frozenset()
    by: str = ""
    """Who endorsed it: a type, a map, a set of candidates, a person."""

    def document(self) -> dict[str, Any]:
        """As the ledger keeps it."""
        told: dict[str, Any] = {"trust": self.trust.name.lower()}
        if self.trust is Trust.ENDORSED:
            told["bits"] = round(sum(self.bits.values()), 3)
        if self.sources:
            told["from"] = sorted(self.sources)
        return told | ({"by": self.by} if self.by else {})

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Label":
        """As it was kept: how many bits it can have carried, and no longer where each came from."""
        sources = frozenset(told.get("from", ()))
        bits = {"": float(told["bits"])} if "bits" in told else {}
        return cls(Trust[told["trust"].upper()], bits, sources, told.get("by", ""))


OURS = Label(Trust.TRUSTED)


def endorsed(place: str, bits: float, by: str) -> Label:
    """Chosen among few; among endlessly many it is not endorsed at all."""
    if bits == float("inf"):
        return Label(Trust.UNTRUSTED, {}, frozenset({place}))
    return Label(Trust.ENDORSED, {place: bits}, frozenset({place}), by)


def joined(labels: Iterable[Label], by: str) -> Label:
    """Of a value that was made of others: the least trust of theirs, and all their bits."""
    every = list(labels)
    bits: dict[str, float] = {}
    for each in every:
        for place, many in each.bits.items():
            bits[place] = max(many, bits.get(place, 0.0))
    trust = min((each.trust for each in every), default=Trust.TRUSTED)
    sources = frozenset(place for each in every for place in each.sources)
    return Label(trust, bits, sources, by)
