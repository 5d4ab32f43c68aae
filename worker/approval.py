"""Approval: a call that a person must allow, with exactly its arguments, before it is made."""

import hashlib
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, PydanticUserError, ValidationError
from pydantic_core import from_json

from config.policy_approvals import USUAL, Approval, When
from models.guard import Guard
from models.ledger import SNAPSHOT
from models.proposal import edited_hash
from models.review import ReviewKind
from models.run import StopReason
from models.verdict import approved_calls
from tools.misfit import faults
from tools.tool import Tool
from worker.held import Held
from worker.order import Order
from worker.outcome import Ask, Question, Stop
from worker.warrant import Warrant

DECIDE_WITHIN = timedelta(days=7)
_PROPOSED = Approval(When.ALWAYS)


def exactly(tool: Tool[Any, Any], args: BaseModel) -> bytes:
    """The hash of a call with all its arguments, defaults included: what a person approves."""
    whole = args.__pydantic_serializer__.to_json(args)
    return hashlib.sha256(b"approval\0" + tool.name.encode() + b"\0" + whole).digest()


def legible(tool: Tool[Any, Any], args: BaseModel) -> None:
    """Refuse arguments that their own JSON does not tell: that is all that labels and a person see.

    Such as a number without end, which is written as null; a secret; a field left out of it.

    Raises:
        Stop: `tool_denied`.
    """
    whole = args.__pydantic_serializer__.to_json(args, round_trip=True)
    told = f"{tool.name} was given what its JSON does not tell"
    try:
        same = tool.takes.model_validate_json(whole) == args
    except ValidationError as error:
        told = f"{told}: {faults(error)}"
        raise Stop(StopReason.TOOL_DENIED, told, Guard.CONTRACT) from error
    if not same:
        raise Stop(StopReason.TOOL_DENIED, told, Guard.CONTRACT)


def approves(order: Order) -> bytes:
    """The hash of the call as a person is to allow it, or has."""
    if order.edited:
        return edited_hash(order.tool.name, order.passed)
    return exactly(order.tool, order.args)


def warrant(order: Order) -> Warrant | None:
    """What the call's intent has to find; None: nobody need have allowed it."""
    if order.warrant is not None or not order.asks:
        return order.warrant
    return Warrant(approves(order))


def editable(tool: Tool[Any, Any]) -> dict[str, Any]:
    """What edited arguments must look like; a contract without a JSON schema says so later."""
    try:
        schema: dict[str, Any] = tool.takes.model_json_schema(by_alias=False)
    except PydanticUserError:
        return {}
    return schema


async def reasons(order: Order, tenant: str) -> tuple[str, ...]:
    """Why a person must allow this call; empty when none need be asked."""
    rule = order.ruling.approval
    if order.edited:
        return ("a person has edited it",)
    unsaid = rule is None or rule is USUAL.get(order.tool.name)
    if unsaid and order.proposed and order.tool.writes:
        rule = _PROPOSED
    if rule is None or rule.when is When.NEVER:
        return order.judged.faults
    approved = await approved_calls(tenant, order.tool.name) if rule.when is When.FIRST else 0
    args = from_json(order.args.__pydantic_serializer__.to_json(order.args))
    if not rule.asked_of(args, approved):
        return order.judged.faults
    told = "a model proposed it" if rule is _PROPOSED else f"the policy says {rule}"
    return (*order.judged.faults, told)


def keeps(held: Held, order: Order) -> bool:
    """Whether a snapshot was begun for this very call, and would fit no other."""
    before = order.step + SNAPSHOT
    return before in held.record or before in held.provenance.origins


def question(order: Order, *, kept: bool = False) -> Ask:
    """Park the run until a person has said yes or no to this call; `kept`: to no other."""
    tool, args = order.tool, order.args
    asked = args.__pydantic_serializer__.to_json(args)
    only = " (its snapshot is taken: approve or reject, for nothing else fits it)" * kept
    return Ask(
        [
            Question(
                step=order.step,
                number=order.number,
                kind=ReviewKind.APPROVAL,
                text=f"May {tool.name} be called with exactly this{only}? Asked because"
                f" {'; '.join(order.asks)}"[:500],
                proposal=asked,
                answer_schema={"const": from_json(asked)} if kept else editable(tool),
                args_hash=order.digest,
                decide_within=DECIDE_WITHIN,
                fresh=order.record is None,
                approves=approves(order),
                tool=tool.name,
                effect=tool.effect,
                args=order.passed,
                labels=order.judged.labels,
                guard=Guard.LABELS if order.judged.faults else Guard.APPROVAL,
            )
        ]
    )
