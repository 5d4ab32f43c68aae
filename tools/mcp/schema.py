"""A contract made of somebody else's JSON schema: a strict Pydantic model around a validator.

The fields are there to be read by; what decides is the validator, which knows every keyword. The
schema is closed first: an object that names its fields has no others, unless it says so itself.
"""

import keyword
import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, ClassVar, Literal, TypeAlias, Union

import jsonschema_rs
from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator
from pydantic_core import to_jsonable_python

from tools.mcp.canonical import canonical
from tools.tool import Contract

LARGEST_BYTES = 64 * 1024
_DEEPEST = 24
_COMPOSED = frozenset(
    {"allOf", "anyOf", "oneOf", "$ref", "if", "not", "dependentSchemas", "$dynamicRef"}
)
_OPEN = frozenset({"additionalProperties", "unevaluatedProperties", "patternProperties"})
_SCALARS = {"string": str, "integer": int, "number": int | float, "boolean": bool, "null": None}
_SHOWN_FAULTS = 3

Schema: TypeAlias = dict[str, Any]


class NoContract(ValueError):
    """No strict contract can be made of a schema; the sentence says why."""


class Pinned(Contract):
    """A model whose schema stands in a lock file. JSON has its names; Python's may differ."""

    model_config = ConfigDict(serialize_by_alias=True)
    pinned_check: ClassVar[jsonschema_rs.Validator]
    pinned_schema: ClassVar[Schema]

    @model_validator(mode="before")
    @classmethod
    def _fits_its_schema(cls, value: Any) -> Any:
        if isinstance(value, cls):
            return value
        faults = [
            f"/{'/'.join(map(str, fault.instance_path))}: {fault.message}"
            for fault, _ in zip(
                cls.pinned_check.iter_errors(to_jsonable_python(value)),
                range(_SHOWN_FAULTS),
                strict=False,
            )
        ]
        if faults:
            raise ValueError("; ".join(faults))
        return value

    @classmethod
    def model_json_schema(cls, *_: Any, **__: Any) -> Schema:
        """The schema as it was pinned, closed: more than the fields can say."""
        return deepcopy(cls.pinned_schema)


def arguments(name: str, schema: Schema, told: str) -> type[BaseModel]:
    """The model of a tool's arguments; `told` is what the lock says of the tool.

    Raises:
        NoContract: A sentence that says why not.
    """
    return _Maker(schema).model(name, told, result=False)


def result(name: str, schema: Schema) -> type[BaseModel]:
    """The model of a tool's result; a field that it leaves out is None.

    Raises:
        NoContract: A sentence that says why not.
    """
    if schema.get("additionalProperties", False) is not False or not schema.get("properties"):
        raise NoContract("its result may have any fields")
    return _Maker(schema).model(name, "", result=True)


class _Maker:
    """Makes models of one schema document."""

    def __init__(self, schema: Schema) -> None:
        if schema.get("type") != "object" or _COMPOSED & schema.keys():
            raise NoContract("it is no plain object at its top")
        try:
            self._schema = _prepared(schema)
        except (ValueError, RecursionError) as error:
            raise NoContract(f"its schema is not usable: {error}") from None
        # Linear in the length of the text, and nothing is fetched: a schema is text from outside.
        options = jsonschema_rs.RegexOptions()
        try:
            self._check = jsonschema_rs.validator_for(
                self._schema, offline=True, mask="it", pattern_options=options
            )
        except (ValueError, RecursionError) as error:
            raise NoContract(f"its schema is not usable: {str(error).splitlines()[0]}") from None

    def model(self, name: str, told: str, *, result: bool) -> type[BaseModel]:
        class Base(Pinned):
            pinned_check = self._check
            pinned_schema = self._schema

        Base.__doc__ = told or None
        return self._made(name, self._schema, Base, result=result, depth=0)

    def _made(
        self, name: str, node: Schema, base: type[Contract], *, result: bool, depth: int
    ) -> type[BaseModel]:
        fields: dict[str, Any] = {}
        required = node.get("required", [])
        for each, part in node.get("properties", {}).items():
            kind = self._type(part, depth + 1, nested=result)
            given = _python_name(each, fields)
            if each in required:
                fields[given] = (kind, Field(alias=each))
            else:
                absent = _is_none if result else None
                fields[given] = (kind | None, Field(default=None, alias=each, exclude_if=absent))
        made: type[BaseModel] = create_model(name, __base__=base, __module__=__name__, **fields)
        made.__doc__ = base.__doc__
        return made

    def _type(self, node: Any, depth: int, *, nested: bool) -> Any:
        """What a field is annotated with. Any where only the validator can tell."""
        node = self._resolved(node)
        if node is None or depth > _DEEPEST:
            return Any
        options = node.get("anyOf") or node.get("oneOf")
        if options:
            return _union([self._type(each, depth + 1, nested=nested) for each in options])
        if _COMPOSED & node.keys():
            return Any
        values = [node["const"]] if "const" in node else node.get("enum")
        if values is not None:
            plain = all(isinstance(each, str | int | bool | None) for each in values)
            return Literal[tuple(values)] if values and plain else Any
        kinds = node.get("type", [])
        kinds = kinds if isinstance(kinds, list) else [kinds]
        return _union([self._of(each, node, depth, nested=nested) for each in kinds])

    def _of(self, kind: str, node: Schema, depth: int, *, nested: bool) -> Any:
        if kind in _SCALARS:
            return _SCALARS[kind]
        if kind == "array":
            items = node.get("items", True)
            return list[self._type(items, depth + 1, nested=nested)]  # type: ignore[misc]  # made
        if kind != "object":
            return Any
        if nested and node.get("properties") and node.get("additionalProperties") is False:
            return self._made("Part", node, _Part, result=True, depth=depth)
        return dict[str, Any]

    def _resolved(self, node: Any) -> Schema | None:
        """Follow a reference within the document, a few steps far; None: only the validator can."""
        for _ in range(_DEEPEST):
            if not isinstance(node, dict):
                return None
            ref = node.get("$ref")
            if ref is None:
                return node
            found = re.fullmatch(r"#/(\$defs|definitions)/([^/~%]+)", str(ref))
            node = self._schema.get(found[1], {}).get(found[2]) if found else None
        return None


class _Part(Contract):
    """An object within a result. The validator of the whole has looked at it."""

    model_config = ConfigDict(serialize_by_alias=True)


def _prepared(schema: Schema) -> Schema:
    text = canonical(schema)
    if len(text) > LARGEST_BYTES:
        raise ValueError(f"it is larger than {LARGEST_BYTES} bytes")
    found: Schema = _closed({**schema, "additionalProperties": False})
    if b'"allOf"' in text:  # it may join parts by reference: each has fields of the other
        found |= {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    return found


def _closed(node: Any) -> Any:
    """The same schema, its objects closed wherever they name their fields and stand alone."""
    if isinstance(node, list):
        return [_closed(each) for each in node]
    if not isinstance(node, Mapping):
        return node
    closed = {key: _into(key, value) for key, value in node.items()}
    alone = "properties" in node and not (_COMPOSED | _OPEN) & node.keys()
    return closed | {"additionalProperties": False} if alone else closed


def _into(key: str, value: Any) -> Any:
    """Close what a keyword holds. Parts that are joined with others stay as they are."""
    if key in {"properties", "$defs", "definitions"} and isinstance(value, Mapping):
        return {name: _closed(each) for name, each in value.items()}
    if key in {"items", "additionalProperties", "prefixItems", "anyOf", "oneOf"}:
        return _closed(value)
    return value


def _python_name(name: str, taken: Mapping[str, Any]) -> str:
    """A name that Python and Pydantic leave free: `from` becomes `from_`."""
    given = re.sub(r"\W", "_", name).lstrip("_") or "field"
    if not given.isascii() or given[0].isdigit():
        given = f"field_{given}" if given.isascii() else "field"
    if keyword.iskeyword(given) or hasattr(Pinned, given) or given.startswith("model_"):
        given = f"{given}_"
    while given in taken:
        given = f"{given}_"
    return given


def _union(kinds: list[Any]) -> Any:
    return Union[tuple(kinds)] if kinds else Any  # noqa: UP007  # made of what is known at run time


def _is_none(value: Any) -> bool:
    return value is None
