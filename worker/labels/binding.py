"""A binding: an argument by reference, so that the gateway knows where its value comes from.

await flow.call("open", ticket.create,
    external_ref=made(reference, ref("input:/source"), ref("input:/id")),
    queue=ref("classify:/category").map(QUEUES),
    body=ref("input:/text"),
    channel=fixed("email"))
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic_core import to_json

from tools.trust import Trust
from worker.labels.label import OURS, Label, endorsed, joined


class Places(Protocol):
    """What a run has been given and has done so far."""

    def at(self, place: str) -> tuple[Any, Label]:
        """The value at a place, `step:/pointer` or `input:/pointer`, and its label."""

    def several(self, place: str) -> list[tuple[Any, Label]]:
        """Every value that a place with `*` in it means."""


class Binding(ABC):
    """The base: resolved by the gateway when the call is made."""

    @abstractmethod
    def resolve(self, places: Places) -> tuple[Any, Label]:
        """The value, and its label."""

    def map(self, table: Mapping[Any, Any]) -> "Binding":
        """Of the pipeline's own values, the one that this one selects."""
        return _Mapped(self, table)

    def among(self, *places: str) -> "Binding":
        """This value, endorsed when it is one of the trusted ones at places such as
        `search:/hits/*/id`; a list, when each of its members is. Otherwise it stays what it is."""
        return _Among(self, places)


@dataclass(frozen=True, eq=False)
class Ref(Binding):
    place: str

    def resolve(self, places: Places) -> tuple[Any, Label]:
        return places.at(self.place)


@dataclass(frozen=True)
class Choice:
    """Left to a model, but only among the trusted values at places with `*` in them."""

    places: tuple[str, ...]
    strictly: bool = False
    """What is none of them the model is told; a person is not asked whether it may be."""

    def of(self, value: Any, at: str) -> Binding:
        """What the model chose at this place, `work/3/mail.send:/to`; endorsed when it is one of
        them. Each place is one choice: two of them say twice as much."""
        return _Among(_Said(value, at), self.places)


def among(*places: str, strictly: bool = False) -> Choice:
    """For `offer`: the model may choose one of the trusted values at `step:/hits/*/id`; with
    `work/*/search.read:/hits/*/id`, of all that it has found so far. Whether another one will do,
    a person is asked; `strictly`: nobody is, and the model is told."""
    for place in places:
        ref(place)
    return Choice(places, strictly)


def ref(place: str) -> Ref:
    """What stands at `input:/pointer` or `step:/pointer`."""
    step, found, pointer = place.rpartition(":")
    if not (step and found) or (pointer and not pointer.startswith("/")):
        raise ValueError(f"a reference is `step:/pointer` or `input:/pointer`, not {place!r}")
    return Ref(place)


def fixed(value: Any) -> Binding:
    """The pipeline's own constant. Whoever passes text from outside here breaks the promise."""
    return _Fixed(value)


def made(by: Callable[..., Any], *of: Binding) -> Binding:
    """What a deterministic function makes of other bindings."""
    return _Made(by, of)


@dataclass(frozen=True, eq=False)
class _Fixed(Binding):
    value: Any

    def resolve(self, places: Places) -> tuple[Any, Label]:  # noqa: ARG002  # it needs none
        return self.value, OURS


@dataclass(frozen=True, eq=False)
class _Said(Binding):
    value: Any
    at: str

    def resolve(self, places: Places) -> tuple[Any, Label]:  # noqa: ARG002  # it needs none
        return self.value, Label(Trust.UNTRUSTED, {}, frozenset({self.at}))


@dataclass(frozen=True, eq=False)
class _Mapped(Binding):
    of: Binding
    table: Mapping[Any, Any]

    def resolve(self, places: Places) -> tuple[Any, Label]:
        key, label = self.of.resolve(places)
        most = math.log2(len(self.table))
        return self.table[key], _narrowed(label, most, "map", repr(self.table))


@dataclass(frozen=True, eq=False)
class _Among(Binding):
    of: Binding
    within: tuple[str, ...]

    def resolve(self, places: Places) -> tuple[Any, Label]:
        value, label = self.of.resolve(places)
        found = [each for place in self.within for each in places.several(place)]
        trusted = [each for each, of in found if of.trust is Trust.TRUSTED]
        several = len({to_json(each, fallback=repr) for each in trusted})
        by = f"one of {' or '.join(self.within)}"
        if one := _ours(trusted, value):
            return one[0], _narrowed(label, math.log2(several), by, by)
        members = [_ours(trusted, each) for each in value] if isinstance(value, list) else []
        if members and all(members):
            # Each member was chosen, and after each of them whether that was the last.
            most = len(members) * math.log2(several + 1)
            return [each[0] for each in members], _narrowed(label, most, by, by)
        return value, label


@dataclass(frozen=True, eq=False)
class _Made(Binding):
    by: Callable[..., Any]
    of: tuple[Binding, ...]

    def resolve(self, places: Places) -> tuple[Any, Label]:
        found = [each.resolve(places) for each in self.of]
        name = getattr(self.by, "__name__", "function")
        return self.by(*(value for value, _ in found)), joined((label for _, label in found), name)


def _ours(trusted: Sequence[Any], value: Any) -> list[Any]:
    """Those that are the same as JSON: to Python 1, 1.0 and True are equal, to a target three."""
    written = to_json(value, fallback=repr)
    return [each for each in trusted if each == value and to_json(each, fallback=repr) == written]


def _narrowed(label: Label, most: float, by: str, among: str) -> Label:
    """What was chosen among few is endorsed, and can have said no more bits than that choice.

    The same text chooses anew in each set that it chooses `among`.
    """
    if label.trust is Trust.TRUSTED:
        return label
    if label.trust is Trust.ENDORSED and sum(label.bits.values()) <= most:
        return label._replace(by=by)
    place = f"{' and '.join(sorted(label.sources))} among {among}"
    return endorsed(place, most, by)._replace(sources=label.sources)
