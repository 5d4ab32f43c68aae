"""Capacity: how many bits a value of a declared type can carry at most.

A choice among n is log2 n bits, whoever made it; free text has no bound. What a model or a text
from outside can say through a typed field is bounded by that, and by nothing else.
"""

import math
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

INFINITE = math.inf
_DEEPEST = 12
_MANY = 1000.0
"""Bits: as good as without end."""


@lru_cache(maxsize=4096)
def capacity(model: type[BaseModel], pointer: str) -> float:
    """Bits of what stands at a JSON pointer of a model's document.

    Infinite where nothing bounds it, and where the model declares nothing.
    """
    return _at(model, (), tuple(pointer.split("/")[1:]), 0)


def _at(kind: Any, bounds: tuple[Any, ...], path: tuple[str, ...], depth: int) -> float:
    """Go down to the place, and say how much fits there."""
    if depth > _DEEPEST:
        return INFINITE
    kind, bounds = _plain(kind, bounds)
    if not path:
        return _bits(kind, bounds, depth)
    origin = get_origin(kind)
    if _is_union(origin):
        return max(_at(each, bounds, path, depth + 1) for each in get_args(kind))
    if origin in {list, tuple, set, frozenset} and get_args(kind):
        return _at(get_args(kind)[0], (), path[1:], depth + 1)
    if not _is_model(kind):
        return 0.0 if kind is NoneType else INFINITE
    field = _field(kind, path[0])
    return INFINITE if field is None else _at(*_declared(field), path[1:], depth + 1)


def _bits(kind: Any, bounds: tuple[Any, ...], depth: int) -> float:
    if depth > _DEEPEST:
        return INFINITE
    kind, bounds = _plain(kind, bounds)
    choices = _choices(kind, bounds, depth)
    return INFINITE if choices is None else math.log2(choices) if choices else 0.0


def _choices(kind: Any, bounds: tuple[Any, ...], depth: int) -> float | None:
    """How many different values there are; None: without end."""
    origin = get_origin(kind)
    if kind is NoneType:
        return 1
    if kind is bool:
        return 2
    if origin is Literal:
        return len(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return len(kind)
    if kind is int:
        return _between(bounds)
    if _is_union(origin):
        return _sum([_bits(each, (), depth + 1) for each in get_args(kind)])
    if _is_model(kind):
        return _product([
            _bits(*_declared(each), depth + 1) for each in kind.model_fields.values()
        ] if kind.model_config.get("extra") != "allow" else [INFINITE])  # fmt: skip
    if origin is list:
        return _lists(_bits(get_args(kind)[0], (), depth + 1), bounds)
    return None


def _between(bounds: tuple[Any, ...]) -> float | None:
    low = _limits(bounds, Ge, "ge") + [each + 1 for each in _limits(bounds, Gt, "gt")]
    high = _limits(bounds, Le, "le") + [each - 1 for each in _limits(bounds, Lt, "lt")]
    return max(min(high) - max(low) + 1, 0) if low and high else None


def _limits(bounds: tuple[Any, ...], kind: type, name: str) -> list[Any]:
    return [getattr(each, name) for each in bounds if isinstance(each, kind)]


def _lists(bits: float, bounds: tuple[Any, ...]) -> float | None:
    """All lists up to the longest one."""
    longest = min((each.max_length for each in bounds if isinstance(each, MaxLen)), default=None)
    if longest is None or bits * longest > _MANY:
        return None
    return sum(2 ** (bits * length) for length in range(longest + 1))


def _sum(bits: list[float]) -> float | None:
    return None if max(bits) > _MANY else sum(2**each for each in bits)


def _product(bits: list[float]) -> float | None:
    return None if sum(bits) > _MANY else 2 ** sum(bits)


def _plain(kind: Any, bounds: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """A type without what annotates it."""
    while get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        for each in more:
            bounds += tuple(each.metadata) if isinstance(each, FieldInfo) else (each,)
    return kind, bounds


def _declared(field: FieldInfo) -> tuple[Any, tuple[Any, ...]]:
    return field.annotation, tuple(field.metadata)


def _field(model: type[BaseModel], name: str) -> FieldInfo | None:
    fields: Mapping[str, FieldInfo] = model.model_fields
    return fields.get(name) or next(
        (each for each in fields.values() if name in {each.alias, each.serialization_alias}), None
    )


def _is_union(origin: Any) -> bool:
    return origin in {Union, UnionType}


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
