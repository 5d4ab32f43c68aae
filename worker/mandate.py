"""A mandate: what a person has approved of a proposal, read for the run that carries it out."""

from typing import Any
from uuid import UUID

from models.database import hot
from models.guard import Guard
from models.review import Verdict
from models.run import StopReason
from worker.approval import keeps, question
from worker.held import Held
from worker.order import Order
from worker.outcome import Stop
from worker.warrant import Mandate

_FIND = """
    SELECT r.verdict, r.proposal, r.answer, r.used_by, r.use_by > now() AS in_time, e.tool,
           e.labels, run.pipeline, run.version
      FROM review r
      JOIN run ON run.id = r.run_id
      JOIN ledger_entry e ON (e.run_id, e.step) = (r.run_id, r.step)
     WHERE r.id = $1 AND r.tenant = $2 AND r.kind = 'proposal'
"""
_WANTED = {Verdict.APPROVED, Verdict.EDITED}


async def find(proposal: UUID, *, tenant: str, run: UUID) -> Mandate:
    """What is to be done.

    Raises:
        Stop: `tool_denied`: nobody of this tenant has allowed it, or not any more.
    """
    row = await hot().fetchrow(_FIND, proposal, tenant)
    if (told := _void(row, run)) is not None:
        raise denied(proposal, told)
    edited = row["verdict"] == Verdict.EDITED
    return Mandate(
        proposal=proposal,
        pipeline=row["pipeline"],
        version=row["version"],
        tool=row["tool"],
        written=row["answer"] if edited else row["proposal"],
        edited=edited,
        proposed=row["proposal"],
        labels=row["labels"],
    )


async def unapproved(order: Order, held: Held) -> BaseException:
    """What is to be done about a call whose intent did not find its approval: ask (again), or give
    up where the verdict is on another run's proposal."""
    if order.warrant is None or order.warrant.proposal is None:
        return question(order, kept=keeps(held, order))
    proposal = order.warrant.proposal
    told = _void(await hot().fetchrow(_FIND, proposal, held.tenant), held.id)
    return denied(proposal, told or "was not approved with exactly these arguments")


def denied(proposal: UUID, told: str) -> Stop:
    return Stop(StopReason.TOOL_DENIED, f"proposal {proposal} {told}", Guard.APPROVAL)


def _void(row: Any, run: UUID) -> str | None:
    """Another tenant's is as if there were none."""
    if row is None:
        return "is none of this tenant's"
    if row["verdict"] not in _WANTED:
        return f"is not approved ({row['verdict'] or 'nobody has answered yet'})"
    if row["used_by"] not in {None, run}:
        return f"was carried out already, by run {row['used_by']}"
    return None if row["in_time"] else "was approved too long ago: it is to be proposed again"
