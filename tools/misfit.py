"""A misfit: what does not fit a contract, told by JSON pointer and without the values."""

from typing import Any

from pydantic import BaseModel, ValidationError


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
