"""Restated: the labels of a call's arguments after a person has edited some of them."""

from typing import Any

from pydantic_core import from_json, to_json

from tools.trust import Trust
from worker.labels.label import Label
from worker.labels.provenance import found
from worker.labels.standing import leaves

_PERSON = Label(Trust.TRUSTED, by="a person").document()
_NOWHERE = object()


def restated(labels: bytes | None, was: bytes, now: bytes) -> bytes | None:
    """What a person has changed is that person's; what was left alone keeps the label it had."""
    if was == now:
        return labels
    before, after = from_json(was), from_json(now)
    told = from_json(labels) if labels else {}
    kept: dict[str, Any] = {}
    for leaf in leaves(after):
        if _at(before, leaf) != _at(after, leaf):
            kept[leaf] = _PERSON
        elif leaf in told:
            kept[leaf] = told[leaf]
    return to_json(kept) if kept else None


def _at(document: Any, pointer: str) -> Any:
    """As JSON, for to Python 1, 1.0 and True are equal."""
    try:
        return to_json(found(document, pointer, pointer))
    except ValueError:
        return _NOWHERE
