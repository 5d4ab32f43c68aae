"""A misfit: what does not fit a contract, told by JSON pointer and without the values."""

from contextlib import suppress
from typing import Any

from pydantic import BaseModel, PydanticUserError, ValidationError
from pydantic_core import to_json


def unsteady(takes: type[BaseModel]) -> str | None:
    """Why the same arguments would not be the same in another process; None: they are."""
    with suppress(PydanticUserError):  # not every contract has a JSON schema
        if b'"uniqueItems":true' in to_json(takes.model_json_schema()):
            return "a set has no order: take a list"
    for name, field in takes.model_fields.items():
        if field.default_factory is not None and not field.default_factory_takes_validated_data:
            once, twice = (field.get_default(call_default_factory=True) for _ in range(2))
            if once != twice:
                return f"the default of {name} is another one each time: pass it"
    return None


def misfit(result: Any, error: Exception) -> str:
    """What a result has outside its contract, by JSON pointer, without the values."""
    if isinstance(error, ValidationError) or not isinstance(result, BaseModel):
        return faults(error) if isinstance(error, ValidationError) else type(result).__name__
    try:
        type(result).model_validate(result.model_dump(warnings=False))
    except ValidationError as precise:
        return faults(precise)
    except (ValueError, AttributeError):
        pass
    return "it cannot be written as JSON"


def faults(error: Exception) -> str:
    """What a contract found wrong, by JSON pointer, without the values."""
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        f"/{'/'.join(map(str, fault['loc']))}: {fault['msg']}"
        for fault in error.errors(include_input=False, include_url=False)[:3]
    )
