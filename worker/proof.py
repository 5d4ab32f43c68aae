"""A proof: a settled step of a run, as far as a fact may rest on it."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from models.guard import Guard
from models.ledger import EntryState
from models.run import StopReason
from models.transcript import MODEL
from tools.tool import Tool
from worker.agents.assessment import Claims, GapAnswer
from worker.agents.complaint import Advice, Complaint
from worker.agents.withheld import Result, Sieve
from worker.record import Record
from worker.refusal import Refusal
from worker.steps import Steps

_LEAF_CHARS = 1_000
"""A longer text does not prove more; it is shown by its length."""
_LIST = 50


def proofs(records: Sequence[Record]) -> dict[str, Record]:
    """The steps of a ledger on which a fact may rest, by name."""
    return {each.step: each for each in records if _is_proof(each)}


async def unproven(
    claims: Claims, proofs: Mapping[str, Record], steps: Steps, step: str, who: str
) -> list[Complaint]:
    """What is called established and names no step that proves it; the audit hears of it."""
    named = {n: each.step for n, each in enumerate(claims.established) if each.step not in proofs}
    if named:
        told = f"established by what is no settled step: {', '.join(map(repr, named.values()))}"
        said = Refusal(Guard.RESULT, StopReason.MODEL_OUTPUT_INVALID, told[:500])
        await steps.refused(step, who, said)
    allowed = sorted(proofs)
    return [Complaint("unproven", Advice.RETRY, f"/established/{n}/step", allowed) for n in named]


def _is_proof(record: Record) -> bool:
    """A settled call of a tool that is no model, or a person's answer."""
    if record.state is not EntryState.SETTLED:
        return False
    if record.tool is None:
        return _says_something(record.result or b"null")  # a person was asked
    return record.effect is not None and not record.tool.startswith(MODEL)


def _says_something(answer: bytes) -> bool:
    """A gap that a person could not close either is none the less a gap."""
    try:
        return GapAnswer.model_validate_json(answer).known
    except ValidationError:  # they were asked for something else
        return True


def shown(
    proofs: Mapping[str, Record], tools: Mapping[str, Tool[Any, Any]]
) -> list[dict[str, Any]]:
    """As a model sees them: as far as their contracts declare, and no more than an agent sees."""
    sieve = Sieve(leaf_chars=_LEAF_CHARS, list_items=_LIST)
    return [
        {
            "step": each.step,
            "tool": each.tool or "a person",
            "result": _sifted(each.step, each.result, tools.get(each.tool or ""), sieve),
        }
        for each in proofs.values()
        if each.result is not None
    ]


def _sifted(step: str, written: bytes, tool: Tool[Any, Any] | None, sieve: Sieve) -> Any:
    if tool is None:
        return sieve.said(from_json(written))
    return sieve.result(Result(tool.gives.model_validate_json(written), step))
