"""A proof: a settled step of a run, as far as a fact may rest on it."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from models.guard import Guard
from models.ledger import EntryState
from models.run import StopReason
from models.transcript import MODEL
from worker.agents.assessment import Claims
from worker.agents.complaint import Advice, Complaint
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
        return True  # a person was asked
    return record.effect is not None and not record.tool.startswith(MODEL)


def shown(proofs: Mapping[str, Record]) -> list[dict[str, Any]]:
    """As a model sees them: what stands in the ledger is what the tools' contracts declare."""
    return [
        {"step": each.step, "tool": each.tool or "a person", "result": _cut(from_json(each.result))}
        for each in proofs.values()
        if each.result is not None
    ]


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _LEAF_CHARS:
        return {"withheld": {"chars": len(value)}}
    if isinstance(value, dict):
        return {name: _cut(each) for name, each in value.items()}
    if isinstance(value, list):
        more = [{"withheld": {"items": len(value) - _LIST}}] * (len(value) > _LIST)
        return [_cut(each) for each in value[:_LIST]] + more
    return value
