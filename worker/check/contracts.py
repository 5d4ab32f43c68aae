"""Contracts: what a model may say through them, and what no type holds."""

import re
from collections.abc import Iterator
from typing import Any, get_origin

from annotated_types import MaxLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.types import StringConstraints

from worker.check.finding import Finding, warning
from worker.check.place import fields

_MONEY = re.compile(
    r"(?:^|_)(?:usd|eur|gbp|chf|money|price|cost|amount|fee|charge|balance|total|salary)(?:_|$)"
)


def open_fields(model: type[BaseModel], role: str, place: str, about: str) -> Iterator[Finding]:
    """Fields that take anything, and money that is no exact number."""
    for pointer, kind, _ in fields(model):
        where = f"{role} {model.__name__}{pointer}"
        if kind in {Any, object, dict} or get_origin(kind) is dict:
            yield warning(
                "open-field", place, about, f"{where} takes anything ({_told(kind)})",
                "give it a model of its own: what a contract does not name nobody checks",
            )  # fmt: skip
        if kind is float and _MONEY.search(pointer.rpartition("/")[2].lower()):
            yield warning(
                "float-money", place, about, f"{where} looks like money, and is a float",
                "make it a Decimal: 0.1 + 0.2 is not 0.3 in a float",
            )  # fmt: skip


def endless_texts(model: type[BaseModel], place: str, about: str, source: str) -> Iterator[Finding]:
    """Texts without a length in what a model is shown."""
    for pointer, kind, bounds in fields(model):
        if kind is str and not any(_bounds_length(each) for each in bounds):
            yield warning(
                "endless-text", place, about,
                f"{model.__name__}{pointer} of {source} reaches a model, and has no max_length",
                "say Field(max_length=...): a page of a gigabyte would be paid for in tokens",
            )  # fmt: skip


def _bounds_length(bound: Any) -> bool:
    if isinstance(bound, FieldInfo):
        return any(_bounds_length(each) for each in bound.metadata)
    if isinstance(bound, StringConstraints):
        return bound.max_length is not None or bound.pattern is not None
    return isinstance(bound, MaxLen) or getattr(bound, "pattern", None) is not None


def _told(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind)) if get_origin(kind) is None else str(kind)
