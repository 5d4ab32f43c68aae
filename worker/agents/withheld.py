"""What does not enter an agent's window: long texts, long lists, and what no contract declares.

Whoever can write a field can fill a context, and drown the goal in it. So a text of free length
enters only while it is short; in place of a longer one stands a marker, which says how much it is
and where, so that the agent may have it looked into (worker/agents/extract.py).
"""

import hashlib
from typing import Any, NamedTuple

from pydantic import BaseModel, RootModel
from pydantic_core import to_json

from tools.trust import escaped
from worker.labels.capacity import INFINITE, capacity

MARK = "withheld"
_PLACE_CHARS = 600
_BITS_OF_A_DIGIT = 3.33
_DIGITS = 40
_BYTES_OF_A_TOKEN = 4
"""About; only to tell a reader how much it is."""


class Result(NamedTuple):
    """What a step gave, and which one."""

    value: BaseModel
    step: str


class Sieve:
    """Lets through what an agent may see, and knows where the rest is to be found."""

    def __init__(self, *, leaf_chars: int, list_items: int) -> None:
        self._leaf_chars = leaf_chars
        self._list_items = list_items
        self.places: dict[str, None] = {}
        """Of all that was withheld so far, in its order: `work/3/search.read:/hits/0/text`."""

    def result(self, result: Result, finer: int = 1) -> Any:
        """A result as it may be shown: what its contract declares. `finer`: so much less of it."""
        document = result.value.model_dump(mode="json")
        return _Sifting(self, finer, result).of(result.value, document, "")

    def said(self, document: Any) -> Any:
        """What a model has said itself, or was told; nobody can look into what is left out."""
        return _Sifting(self).of(None, document, "")

    def whole(self, document: Any, step: str | None) -> dict[str, Any]:
        """A marker in place of all of it."""
        return self.marker(document, None if step is None else f"{step}:")

    def most(self, finer: int) -> tuple[int, int]:
        """Characters of a text, and members of a list."""
        return self._leaf_chars // finer, max(self._list_items // finer, 1)

    def marker(self, left_out: Any, place: str | None, **more: Any) -> dict[str, Any]:
        """What stands in place of a text, or of a document."""
        text = left_out if isinstance(left_out, str) else to_json(left_out).decode()
        written = text.encode(errors="replace")
        told: dict[str, Any] = more or {"chars": len(text)}
        told |= {"tokens": -(-len(written) // _BYTES_OF_A_TOKEN)}
        if place is not None and len(place) <= _PLACE_CHARS and place.count(":") == 1:
            self.places[place] = None  # in another no reference would find the pointer
            told |= {"place": place}
        return {MARK: told | {"sha256": hashlib.sha256(written).hexdigest()[:12]}}


class _Sifting:
    """Of one document."""

    def __init__(self, sieve: Sieve, finer: int = 1, result: Result | None = None) -> None:
        self._sieve = sieve
        self._chars, self._items = sieve.most(finer)
        self._model = None if result is None else type(result.value)
        self._step = None if result is None else result.step

    def of(self, value: Any, written: Any, at: str) -> Any:
        """`written` at a pointer, as it may be shown; `value` is what it was written from."""
        if isinstance(value, RootModel):
            return self.of(value.root, written, at)
        if isinstance(value, BaseModel) and isinstance(written, dict):
            declared = written.keys() - (value.__pydantic_extra__ or {}).keys()
            fields = value.__dict__  # nothing of its own code is run for it
            return {
                name: self.of(fields.get(name), below, f"{at}/{escaped(name)}")
                for name, below in written.items()
                if name in declared
            }
        if isinstance(written, dict):
            return self._map(value, written, at)
        if isinstance(written, list):
            return self._list(value, written, at)
        return written if self._enters(written, at) else self._sieve.marker(written, self._at(at))

    def _map(self, value: Any, written: dict[str, Any], at: str) -> dict[str, Any]:
        """Its names are free text as well."""
        values = list(value.values()) if isinstance(value, dict) else []
        if len(values) != len(written):
            values = [None] * len(written)
        pairs = zip(written.items(), values, strict=True)
        kept = [(n, w, v) for (n, w), v in pairs if len(n) <= self._chars][: self._items]
        shown = {name: self.of(each, w, f"{at}/{escaped(name)}") for name, w, each in kept}
        if len(kept) < len(written):
            left = len(written) - len(kept)
            shown |= self._sieve.marker(written, self._at(at), names=left)
        return shown

    def _list(self, value: Any, written: list[Any], at: str) -> list[Any]:
        fits = isinstance(value, list | tuple | set | frozenset) and len(value) == len(written)
        values = list(value) if fits else [None] * len(written)
        kept = list(zip(written, values, strict=True))[: self._items]
        shown = [self.of(each, below, f"{at}/{n}") for n, (below, each) in enumerate(kept)]
        if len(kept) < len(written):
            left = len(written) - len(kept)
            shown.append(self._sieve.marker(written, self._at(at), items=left))
        return shown

    def _enters(self, leaf: Any, at: str) -> bool:
        """What is short does, and what its type bounds."""
        if isinstance(leaf, int):
            short = leaf.bit_length() / _BITS_OF_A_DIGIT <= max(self._chars, _DIGITS)
        else:
            short = not isinstance(leaf, str) or len(leaf) <= self._chars
        return short or (self._model is not None and capacity(self._model, at) < INFINITE)

    def _at(self, pointer: str) -> str | None:
        return None if self._step is None else f"{self._step}:{pointer}"
