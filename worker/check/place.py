"""Places: whether a JSON pointer means anything in a contract."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

_LISTS = (list, tuple, set, frozenset)
_DEEPEST = 8


def is_place(model: type[BaseModel], pointer: str) -> bool:
    """Whether a document of this model can have something at a pointer; `*` is any one part."""
    return pointer == "" or (pointer.startswith("/") and _has(model, pointer.split("/")[1:]))


def fields(kind: Any, at: str = "", depth: int = 0) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Every leaf of a contract's document: its pointer, its bare type, and what bounds it."""
    yield from _leaves(kind, (), at, depth)


def choices(model: type[BaseModel]) -> str:
    """The names a model has, for a sentence."""
    return ", ".join(f"/{name}" for name in names(model)) or "nothing"


def names(model: type[BaseModel]) -> list[str]:
    return [each.alias or name for name, each in model.model_fields.items()]


def _leaves(
    kind: Any, bounds: tuple[Any, ...], at: str, depth: int
) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    while get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        bounds += tuple(more)
    origin = get_origin(kind)
    if origin in {Union, UnionType}:
        for each in get_args(kind):
            yield from _leaves(each, bounds, at, depth)
    elif origin in _LISTS and get_args(kind) and depth < _DEEPEST:
        yield from _leaves(get_args(kind)[0], (), f"{at}/*", depth + 1)
    elif _is_model(kind) and depth < _DEEPEST:
        if kind.model_config.get("extra") == "allow":
            yield at or "/", Any, ()
        for name, each in kind.model_fields.items():
            if each.exclude:  # such as how a question to a model is worded
                continue
            below = f"{at}/{each.alias or name}"
            yield from _leaves(each.annotation, tuple(each.metadata), below, depth + 1)
    else:
        yield at or "/", kind, bounds


def _has(kind: Any, path: list[str]) -> bool:
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if not path:
        return True
    origin = get_origin(kind)
    if origin in {Union, UnionType}:
        return any(_has(each, path) for each in get_args(kind))
    if origin in _LISTS:
        inner = get_args(kind)[0] if get_args(kind) else Any
        return (path[0] == "*" or path[0].isdecimal()) and _has(inner, path[1:])
    if not _is_model(kind):
        return kind is Any or kind in {dict, list} or origin is dict
    for name, each in kind.model_fields.items():
        if path[0] in {name, each.alias, "*"} and _has(each.annotation, path[1:]):
            return True
    return bool(kind.model_config.get("extra") == "allow")


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
