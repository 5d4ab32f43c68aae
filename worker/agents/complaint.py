"""A complaint: what a model is told of a call that was not made, or failed, so it can act on it.

Never a raw message: what a target says of itself may be text from outside.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ValidationError

from models.run import StopReason
from worker.labels.declared import schema_of
from worker.outcome import ToolFailed

_SHOWN = 5


class Advice(StrEnum):
    """What to do next."""

    RETRY = "retry"  # the same, mended
    STOP = "stop"  # not this way: answer with what there is, or do something else
    ASK_PERSON = "ask_person"  # only a person can help


_ADVICE = {
    StopReason.REVIEW_REJECTED: Advice.STOP,
    StopReason.REVIEW_EXPIRED: Advice.STOP,
    StopReason.TOOL_AUTH_FAILED: Advice.ASK_PERSON,
    StopReason.IN_DOUBT: Advice.ASK_PERSON,
    StopReason.TOOL_OUTPUT_INVALID: Advice.STOP,
}
_CODES = {"missing": "missing", "extra_forbidden": "unknown", "json_invalid": "no_json"}


@dataclass(frozen=True, slots=True)
class Complaint:
    """About one place of what the model said."""

    code: str
    advice: Advice
    pointer: str = ""
    allowed: Any = None
    """What would do there: names, or a JSON schema."""
    id: str = ""
    """Of the proposal that a call became: a person decides, nobody waits for it."""

    def document(self) -> dict[str, Any]:
        told: dict[str, Any] = {"code": self.code, "advice": self.advice}
        told |= {"pointer": self.pointer} if self.pointer else {}
        told |= {"id": self.id} if self.id else {}
        return told | ({"allowed": self.allowed} if self.allowed is not None else {})


def of_contract(error: ValidationError, model: type[BaseModel], at: str = "") -> list[Complaint]:
    """What does not fit a model, place by place, with what would."""
    schema = schema_of(model)
    return [
        Complaint(
            code=_CODES.get(fault["type"], "invalid"),
            advice=Advice.RETRY,
            pointer="".join(f"/{part}" for part in (*at.split("/")[1:], *fault["loc"])),
            allowed=_allowed(schema, fault["loc"], unknown=fault["type"] == "extra_forbidden"),
        )
        for fault in error.errors(include_input=False, include_url=False)[:_SHOWN]
    ]


def of_failure(failure: ToolFailed) -> Complaint:
    """A tool's final failure, by its reason alone."""
    return Complaint(code=str(failure.reason), advice=_ADVICE.get(failure.reason, Advice.STOP))


def _allowed(schema: Mapping[str, Any], loc: tuple[int | str, ...], *, unknown: bool) -> Any:
    """The schema of the place; of an unknown field, the names that are known there."""
    here: Any = schema
    for part in loc[:-1] if unknown else loc:
        here = _resolved(here, schema)
        here = here.get("items") if isinstance(part, int) else here.get("properties", {}).get(part)
        if not isinstance(here, dict):
            return None
    here = _resolved(here, schema)
    if unknown:
        return sorted(here.get("properties", {}))
    return {name: here[name] for name in here if name not in {"title", "$defs", "description"}}


def _resolved(here: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(here.get("$ref", "")).rpartition("/")[2]
    found: Mapping[str, Any] = schema.get("$defs", {}).get(name, {}) if name else here
    return found
