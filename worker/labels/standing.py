"""Standing: whether the arguments of a call are still what was given, where it was given.

A contract may run code of its own, which drops, sorts, or makes one field of another.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter
from pydantic_core import from_json, to_jsonable_python

from tools.trust import escaped

_NOWHERE = object()
_ITS_OWN_FAULT = (ValueError, TypeError, LookupError, AttributeError)
"""What code that was written for the whole may raise when it sees a part."""


def leaves(value: Any, at: str = "") -> Iterator[str]:
    """The JSON pointer of every leaf; an empty list or map is one."""
    if isinstance(value, dict) and value:
        for name, each in value.items():
            yield from leaves(each, f"{at}/{escaped(name)}")
    elif isinstance(value, list) and value:
        for n, each in enumerate(value):
            yield from leaves(each, f"{at}/{n}")
    else:
        yield at


def stands(takes: type[BaseModel], passed: Any, pointer: str, value: Any) -> bool:
    """Whether what was given for a place stands there, as its own type writes it."""
    there = _at(passed, pointer)
    if there == value or there == to_jsonable_python(value, fallback=str):
        return True
    name = pointer[1:]
    return name in takes.model_fields and there == _by_itself(takes, name, value)


def derived(args: BaseModel, at: str = "") -> Iterator[str]:
    """The leaves that nobody gave, and that are no plain default."""
    takes = type(args)
    for name in takes.model_fields:
        value, place = getattr(args, name), f"{at}/{escaped(name)}"
        if name in args.model_fields_set:
            yield from _within(value, place)
        elif _made(takes, name, value):
            yield from leaves(to_jsonable_python(value, fallback=str), place)


def _within(value: Any, at: str) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from derived(value, at)
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _within(each, f"{at}/{escaped(str(name))}")
    elif isinstance(value, list | tuple):
        for n, each in enumerate(value):
            yield from _within(each, f"{at}/{n}")


def _made(takes: type[BaseModel], name: str, value: Any) -> bool:
    field = takes.model_fields[name]
    if field.default_factory is None:
        return bool(value != field.default)
    if not field.default_factory_takes_validated_data:
        code = takes.__pydantic_decorators__.model_validators
        return bool(code) and bool(value != field.get_default(call_default_factory=True))
    return True


def _at(value: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(name, _NOWHERE)
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return _NOWHERE
    return value


def _by_itself(takes: type[BaseModel], name: str, value: Any) -> Any:
    """What its type alone makes of a value: 5 of "5"."""
    adapter = _alone(takes, name)
    try:
        found = adapter.validate_python(value)
        return from_json(adapter.dump_json(found, exclude_unset=True))
    except _ITS_OWN_FAULT:
        return _NOWHERE


@lru_cache(maxsize=1024)
def _alone(takes: type[BaseModel], name: str) -> TypeAdapter[Any]:
    field = takes.model_fields[name]
    kind: Any = field.annotation
    for each in field.metadata:
        kind = Annotated[kind, each]
    return TypeAdapter(kind)
