"""Capacity: how many bits a value of a declared type can carry at most.

A choice among n is log2 n bits, whoever made it; free text has no bound. What a model or a text
from outside can say through a typed field is bounded by that, and by nothing else.
"""

import math
from collections.abc import Mapping
from enum import Enum, Flag
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen
from pydantic import AfterValidator, BaseModel, PlainValidator, SkipValidation, WrapValidator
from pydantic.fields import FieldInfo

INFINITE = math.inf
_LISTS = {list, tuple, set, frozenset}
_ANYTHING = (PlainValidator, WrapValidator, AfterValidator, SkipValidation)
"""Whose code has the last word on a value, whatever its type says."""
_LAST_WORD = AfterValidator(lambda value: value)
_DEEPEST = 12
_MANY = 1000.0
"""Bits: as good as without end."""


@lru_cache(maxsize=4096)
def capacity(model: type[BaseModel], pointer: str) -> float:
    """Bits of what stands at a JSON pointer of a model's document.

    Infinite where nothing bounds it, and where the model declares nothing.
    """
    return _at(model, (), tuple(pointer.split("/")[1:]), 0)


@lru_cache(maxsize=4096)
def spread(
    model: type[BaseModel], pointer: str, *, lists: bool = True
) -> tuple[tuple[str, float], ...]:
    """What can be said above a place: by the pointer of each list, or only of each map, the bits
    of its length or its names."""
    kind: Any = model
    bounds: tuple[Any, ...] = ()
    found: list[tuple[str, float]] = []
    at = ""
    for part in pointer.split("/")[1:]:
        kind, bounds = _without_none(*_plain(kind, bounds))
        bits = _freedom(kind, bounds)
        if bits and (lists or _is_map(kind)):
            found.append((at, bits))
        kind, bounds = _below(kind, part)
        at = f"{at}/{part}"
    return tuple(found)


def _at(kind: Any, bounds: tuple[Any, ...], path: tuple[str, ...], depth: int) -> float:
    """Go down to the place, and say how much fits there."""
    kind, bounds = _plain(kind, bounds)
    if depth > _DEEPEST or any(isinstance(each, _ANYTHING) for each in bounds):
        return INFINITE
    if not path:
        return _bits(kind, bounds, depth)
    origin = get_origin(kind)
    if _is_union(origin):
        return max(_at(each, bounds, path, depth + 1) for each in get_args(kind))
    if origin in _LISTS and get_args(kind):
        return _at(_item(kind, path[0]), (), path[1:], depth + 1)
    if not _is_model(kind):
        return 0.0 if kind is NoneType else INFINITE
    name = _field(kind, path[0])
    return INFINITE if name is None else _at(*_declared(kind, name), path[1:], depth + 1)


def _bits(kind: Any, bounds: tuple[Any, ...], depth: int) -> float:
    if depth > _DEEPEST:
        return INFINITE
    kind, bounds = _plain(kind, bounds)
    choices = _choices(kind, bounds, depth)
    return INFINITE if choices is None else math.log2(choices) if choices else 0.0


def _choices(kind: Any, bounds: tuple[Any, ...], depth: int) -> float | None:
    """How many different values there are; None: without end."""
    origin = get_origin(kind)
    if any(isinstance(each, _ANYTHING) for each in bounds):
        return None
    if kind is NoneType:
        return 1
    if kind is bool:
        return 2
    if origin is Literal:
        return len(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return None if issubclass(kind, Flag) else len(kind)  # flags add up to others
    if kind is int:
        return _between(bounds)
    if _is_union(origin):
        return _sum([_bits(each, (), depth + 1) for each in get_args(kind)])
    if _is_model(kind):
        return _product([
            _bits(*_declared(kind, each), depth + 1) for each in kind.model_fields
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
    if longest is None or (longest and bits * longest > _MANY):
        return None
    if not longest or not bits:
        return longest + 1
    each = 2**bits
    return float((each ** (longest + 1) - 1) / (each - 1))


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


def _declared(model: type[BaseModel], name: str) -> tuple[Any, tuple[Any, ...]]:
    field: FieldInfo = model.model_fields[name]
    code = model.__pydantic_decorators__.field_validators.values()
    last = any(each.info.mode != "before" and _is_for(each.info, name) for each in code)
    return field.annotation, (*field.metadata, *([_LAST_WORD] if last else []))


def _is_for(code: Any, name: str) -> bool:
    return name in code.fields or "*" in code.fields


def _item(kind: Any, part: str) -> Any:
    """The type of one place in a list; a tuple may have another at each."""
    kinds = get_args(kind)
    if get_origin(kind) is not tuple or kinds[-1] is Ellipsis:
        return kinds[0]
    return kinds[int(part)] if part.isdecimal() and int(part) < len(kinds) else Any


def _freedom(kind: Any, bounds: tuple[Any, ...]) -> float:
    """Bits of how long a list is, or of which names a map has; 0 where neither is free."""
    origin = get_origin(kind) or kind
    if _is_map(kind) or _is_union(origin):
        return INFINITE
    if origin not in _LISTS or (origin is tuple and get_args(kind)[-1:] != (Ellipsis,)):
        return 0.0
    many = _lists(0.0, bounds)
    return INFINITE if many is None else math.log2(many)


def _field(model: type[BaseModel], name: str) -> str | None:
    """The field that writes this name; None where several may."""
    fields: Mapping[str, FieldInfo] = model.model_fields
    found = [
        own for own, each in fields.items() if name in {own, each.alias, each.serialization_alias}
    ]
    return found[0] if len(found) == 1 else None


def _is_union(origin: Any) -> bool:
    return origin in {Union, UnionType}


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _is_map(kind: Any) -> bool:
    """Whether what stands there may be a map with names of anybody's choice."""
    kind, _ = _plain(kind, ())
    origin = get_origin(kind) or kind
    if _is_union(origin):
        return any(_is_map(each) for each in get_args(kind))
    return kind in (Any, object) or (isinstance(origin, type) and issubclass(origin, Mapping))


def _without_none(kind: Any, bounds: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """Of `X | None`, X."""
    some = [each for each in get_args(kind) if each is not NoneType]
    return (
        _plain(some[0], bounds)
        if _is_union(get_origin(kind)) and len(some) == 1
        else (kind, bounds)
    )


def _below(kind: Any, part: str) -> tuple[Any, tuple[Any, ...]]:
    """The type one part further down; Any where nothing is declared."""
    if get_origin(kind) in _LISTS and get_args(kind):
        return _item(kind, part), ()
    if _is_map(kind):
        return (get_args(kind) or (Any, Any))[1], ()
    name = _field(kind, part) if _is_model(kind) else None
    return (Any, ()) if name is None else _declared(kind, name)
