"""Arguments after a contract's own code: what stands where it was given, what was made of it."""

from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, Field, field_validator, model_validator

from tools.tool import Call, Contract, Effect, tool
from tools.trust import Trust
from worker.labels.binding import fixed, made, ref
from worker.labels.provenance import Origin, Provenance
from worker.labels.sinks import bound, judged


class Source(Contract):
    customer: str = "ann"
    owner: str = "ann"
    amount: str = "5"
    text: str = "eve"
    name: str = "*"


class Got(Contract):
    pass


def _once(found: list[str]) -> list[str]:
    return list(dict.fromkeys(found))


def _sorted(found: list[str]) -> list[str]:
    return sorted(set(found))


class Letter(Contract):
    to: str = ""
    cc: Annotated[list[str], AfterValidator(_once)] = Field(default=[])
    also: Annotated[list[str], AfterValidator(_sorted)] = Field(default=[])
    amount: Decimal = Decimal(0)
    text: str = ""
    fields: dict[str, str] = Field(default={})
    kept: list[str] = Field(default_factory=list)
    data: Any = None
    marks: list[Literal["x"]] = Field(default=[])
    few: list[Literal["x"]] = Field(default=[], max_length=3)


class Filling(Letter):
    """Written by somebody who wants to help."""

    @model_validator(mode="after")
    def _the_text_says_to_whom(self) -> "Filling":
        if not self.to:
            object.__setattr__(self, "to", self.text)
        return self


class Overruling(Contract):
    text: str = ""
    to: str = ""

    @field_validator("to")
    @classmethod
    def _the_text_says_to_whom(cls, value: str, info: Any) -> str:
        return info.data.get("text") or value


class Batch(Contract):
    letters: list[Filling]


class Following(Contract):
    text: str = ""
    to: str = Field(default_factory=lambda data: data["text"])


def faults_of(takes: type[Contract], **arguments: Any) -> set[str]:
    """The places that a person would be asked about; only `/text` may be anything."""

    async def run(args: Any, call: Call) -> Got:
        return Got()

    run.__annotations__ = {"args": takes, "call": Call, "return": Got}
    sinks = {"/text": Trust.UNTRUSTED, "/marks": Trust.ENDORSED, "/few": Trust.ENDORSED}
    write = tool("write", effect=Effect.WRITE, timeout_s=1, key_kept_for_s=9, sinks=sinks)(run)
    places = Provenance()
    places.origins["input"] = Origin(Source(), Source, ("/customer", "/owner", "/amount"))
    given, references = bound(arguments, places)
    args = takes.model_validate(dict(given))
    passed = args.__pydantic_serializer__.to_json(args, exclude_unset=True)
    found = judged(
        write,
        args,
        sinks,
        passed,
        references,
        step="s",
        proposed=False,
        provenance=places,
        max_bits=12,
    )
    return {fault.split()[0] for fault in found.faults}


CUSTOMER, OWNER, TEXT = ref("input:/customer"), ref("input:/owner"), ref("input:/text")


@pytest.mark.parametrize(
    ("takes", "arguments", "faults"),
    [
        (Letter, {"to": CUSTOMER, "text": TEXT}, set()),
        (Letter, {"to": CUSTOMER, "amount": ref("input:/amount"), "text": TEXT}, set()),
        (Letter, {"to": CUSTOMER, "amount": fixed(5), "text": TEXT}, set()),
        (Letter, {"to": CUSTOMER, "cc": fixed(["bob"]), "kept": fixed([]), "text": TEXT}, set()),
        (Letter, {"to": TEXT}, {"/to"}),
        (Filling, {"to": CUSTOMER, "text": TEXT}, set()),
        (Filling, {"text": TEXT}, {"/to"}),
        (Filling, {"text": fixed("ours")}, set()),
        (Overruling, {"to": CUSTOMER}, set()),
        (Overruling, {"to": CUSTOMER, "text": TEXT}, {"/to"}),
        (Following, {"text": TEXT}, {"/to"}),
        (Batch, {"letters": [{"to": CUSTOMER}]}, set()),
        (Batch, {"letters": [{"to": CUSTOMER, "text": TEXT}]}, {"/letters/0/text"}),
        (Batch, {"letters": [{"text": TEXT}]}, {"/letters/0/to", "/letters/0/text"}),
        (Letter, {"cc": [CUSTOMER, fixed("bob")]}, set()),
        (Letter, {"cc": [CUSTOMER, OWNER, TEXT]}, {"/cc/1"}),
        (Letter, {"also": [CUSTOMER, OWNER, TEXT]}, {"/also/"}),
        (Letter, {"fields": fixed({"a": "b"})}, set()),
        (Letter, {"fields": {"from the text": CUSTOMER}}, {"/fields/from"}),
        (Letter, {"fields": {"*": fixed("ours"), "x": TEXT}}, {"/fields/*", "/fields/x"}),
        (Letter, {"data": {"*": fixed("ours"), "x": "said"}}, {"/data/*", "/data/x"}),
        (Letter, {"few": ["x", "x"]}, set()),
        (Letter, {"marks": ["x"] * 17}, {"/marks/16"}),
        (Letter, {"fields": made(lambda v: {"a": v}, CUSTOMER)}, set()),
    ],
)  # fmt: skip
def test_only_what_stands_where_it_was_bound_has_the_trust_of_its_reference(
    takes, arguments, faults
):
    """Whatever the contract's own code does to it."""
    found = faults_of(takes, **arguments)

    assert bool(found) == bool(faults)
    assert all(any(each.startswith(fault) for each in found) for fault in faults)
