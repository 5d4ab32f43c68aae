"""Provenance: what a run was given and has done, and how far each part of it can be trusted."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic_core import from_json

from tools.trust import Trust, covers, escaped
from worker.labels.capacity import capacity
from worker.labels.label import Label, endorsed

INPUT = "input"


class Origin(NamedTuple):
    """A document that values may be taken from by reference."""

    written: bytes | BaseModel
    model: type[BaseModel]
    trusted: tuple[str, ...] = ()
    """JSON pointers of what may be trusted in it, all below included."""
    bits: Mapping[str, float] = {}
    """By JSON pointer: how much can be said there at most, where the type does not tell."""
    person: bool = False
    """A person has seen and approved it."""
    kept: Mapping[str, Label] = {}
    """By JSON pointer: the labels that parts of it had when they were remembered."""

    def label(self, place: str, pointer: str) -> Label:
        """Trusted by declaration, endorsed by a person or by its type, or not at all."""
        was = next((each for at, each in self.kept.items() if _is_within(pointer, at)), None)
        if was is not None and was.trust is Trust.TRUSTED:
            return Label(Trust.TRUSTED, {}, frozenset({place}))
        if was is not None and was.trust is Trust.ENDORSED:
            return endorsed(place, sum(was.bits.values()), f"{was.by}, remembered")
        if any(covers(each, pointer) for each in self.trusted):
            return Label(Trust.TRUSTED, {}, frozenset({place}))
        if self.person:
            return endorsed(place, 0.0, "a person")
        bits = self.bits.get(pointer)
        told = "declared" if bits is not None else self.model.__name__
        return endorsed(place, capacity(self.model, pointer) if bits is None else bits, told)


class Provenance:
    """One run's, rebuilt the same way on every replay."""

    __slots__ = ("_ahead", "_documents", "_said", "origins")

    def __init__(self, said: Mapping[str, float] | None = None) -> None:
        """`said`: by step, what text from outside chose in the writes of earlier attempts."""
        self._ahead = dict(said or {})
        self.origins: dict[str, Origin] = {}
        self._documents: dict[str, Any] = {}
        self._said: dict[str, float] = {}

    def copy(self) -> "Provenance":
        """To try out what a write would say: the same places, and counts of its own."""
        made = Provenance(self._ahead)
        made.origins, made._documents = self.origins, self._documents
        made._said = dict(self._said)
        return made

    def at(self, place: str) -> tuple[Any, Label]:
        """The value at `step:/pointer`, and its label.

        Raises:
            ValueError: There is no such step yet, or nothing at that pointer.
        """
        step, pointer = _parts(place)
        value = found(self._document(step), pointer, place)
        return value, self.origins[step].label(place, pointer)

    def several(self, place: str) -> list[tuple[Any, Label]]:
        """Every value that a place with `*` in it means. One in the step's name, between slashes,
        means every such step so far: `work/*/search.read:/hits/*/id`."""
        step, pointer = _parts(place)
        if step in self.origins or "*" not in step:
            return self._several(step, pointer, place)
        steps = [each for each in self.origins if _means(step, each)]
        return [pair for each in steps for pair in self._several(each, pointer, place)]

    def _several(self, step: str, pointer: str, place: str) -> list[tuple[Any, Label]]:
        every: list[tuple[str, Any]] = [("", self._document(step))]
        for part in pointer.split("/")[1:]:
            every = [
                (f"{at}/{name}", below)
                for at, value in every
                for name, below in _several(value, part, place)
            ]
        origin = self.origins[step]
        return [(value, origin.label(f"{step}:{at}", at)) for at, value in every]

    def say(self, bits: Mapping[str, float], step: str) -> float:
        """Count what text from outside chose in a write; how many bits of this run that makes.

        Writes of earlier attempts count before a replay comes by them: steps side by side may
        come in another order than they did.
        """
        self._ahead.pop(step, None)
        for place, many in bits.items():
            self._said[place] = max(many, self._said.get(place, 0.0))
        return sum(self._said.values()) + sum(self._ahead.values())

    def _document(self, step: str) -> Any:
        if step not in self._documents:
            origin = self.origins.get(step)
            if origin is None:
                raise ValueError(f"a reference to {step!r}, but the run has not come to that step")
            written = origin.written
            plain = written.model_dump_json() if isinstance(written, BaseModel) else written
            self._documents[step] = from_json(plain)
        return self._documents[step]


def found(document: Any, pointer: str, place: str) -> Any:
    """What stands at a JSON pointer; `place` is how it was asked for.

    Raises:
        ValueError: Nothing does.
    """
    value = document
    for part in pointer.split("/")[1:]:
        value = _below(value, part, place)
    return value


def _is_within(pointer: str, at: str) -> bool:
    """It, or below it; no part of it is a wildcard, for what was remembered names what is there."""
    return pointer == at or pointer.startswith(f"{at}/")


def _parts(place: str) -> tuple[str, str]:
    step, _, pointer = place.rpartition(":")
    return step, pointer


def _means(pattern: str, step: str) -> bool:
    return pattern.count("/") == step.count("/") and covers(pattern, step)


def _several(value: Any, part: str, place: str) -> list[tuple[str, Any]]:
    """By name as a pointer has it: whoever chooses the names of a map cannot make one of two."""
    if part != "*":
        return [(part, _below(value, part, place))]
    if isinstance(value, dict):
        return [(escaped(name), each) for name, each in value.items()]
    return [(str(n), each) for n, each in enumerate(value)] if isinstance(value, list) else []


def _below(value: Any, part: str, place: str) -> Any:
    name = part.replace("~1", "/").replace("~0", "~")
    if isinstance(value, dict) and name in value:
        return value[name]
    if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
        return value[int(name)]
    raise ValueError(f"a reference to {place!r}, but there is nothing at {part!r}")
