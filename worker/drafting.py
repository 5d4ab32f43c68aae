"""Drafting: how an order comes of what a pipeline, a model or a person wants done."""

import hashlib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from models.guard import Guard
from models.proposal import edited_hash
from models.run import StopReason
from tools.misfit import faults
from tools.tool import Rejected, Tool
from worker.approval import exactly, legible
from worker.held import Held
from worker.labels.restated import restated
from worker.labels.sinks import Bound, Judged, judged
from worker.order import Order
from worker.outcome import Stop
from worker.record import Record
from worker.ruling import Ruling
from worker.warrant import Mandate, Warrant

A = TypeVar("A", bound=BaseModel)
R = TypeVar("R", bound=BaseModel)


def parse(tool: Tool[A, R], given: Mapping[str, Any], *, strict: bool, proposed: bool) -> A:
    """The arguments as the tool's contract has them.

    Raises:
        Stop: `tool_denied`: they do not fit it.
    """
    try:
        if proposed:  # what a model said is JSON, and is never coerced
            return tool.takes.model_validate_json(to_json(given), strict=True)
        parsed: A = tool.takes.__pydantic_validator__.validate_python(given, strict=strict or None)
    except ValidationError as error:
        raise Stop(
            StopReason.TOOL_DENIED,
            f"{tool.name} does not take these arguments: {faults(error)}",
            Guard.CONTRACT,
        ) from error
    return parsed


def judge(held: Held, order: Order, given: Mapping[str, Bound]) -> Judged:
    """Where its arguments come from, against the sinks."""
    return judged(
        order.tool,
        order.args,
        order.ruling.sinks,
        order.passed,
        given,
        step=order.step,
        proposed=order.proposed,
        provenance=held.provenance,
        max_bits=order.ruling.max_bits,
    )


def mandated(
    tool: Tool[Any, Any], mandate: Mandate, ruling: Ruling, *, step: str, number: int,
    record: Record | None,
) -> Order:  # fmt: skip
    """What a person has approved, and nothing else: the ruling is the proposing pipeline's.

    Raises:
        Stop: `tool_denied`: the tool does not take what was approved.
    """
    written = mandate.written
    try:
        args = _read(tool, written, ruling)
    except Rejected as error:
        raise Stop(StopReason.TOOL_DENIED, str(error), Guard.CONTRACT) from error
    digest = hashlib.sha256(b"mandate\0" + tool.name.encode() + b"\0" + written).digest()
    labels = restated(mandate.labels, mandate.proposed, written)
    approved = edited_hash(tool.name, written) if mandate.edited else exactly(tool, args)
    return Order(
        step, number, tool, args, written, digest, record, ruling, judged=Judged(labels),
        asks=(f"a person has approved proposal {mandate.proposal}",),
        warrant=Warrant(approved, mandate.proposal, mandate.pipeline),
    )  # fmt: skip


def restate(order: Order) -> None:
    """Where a person has put other arguments in the place of the pipeline's, take those: they stand
    in the ledger, and their review has the hash of the very bytes."""
    record = order.record
    written = record.args if record is not None and record.args_hash == order.digest else None
    if written is None or written == order.passed:
        return
    shown = order.args.__pydantic_serializer__.to_json(order.args)
    labels = restated(order.judged.labels, shown, written)
    order.judged = order.judged._replace(labels=labels)
    order.passed, order.edited = written, True
    try:
        order.args = _read(order.tool, written, order.ruling)
    except Rejected as error:
        order.unfit = error


def _read(tool: Tool[A, R], written: bytes, ruling: Ruling) -> A:
    """A person's arguments, by the tool's own contract.

    Raises:
        Rejected: `review_rejected`: they do not fit it, or would not be what the person has read.
    """
    told = f"{tool.name} does not take the arguments that a person has allowed"
    if len(written) > ruling.most_bytes[0]:
        raise Rejected(f"{told}: they are too large", reason=StopReason.REVIEW_REJECTED)
    try:
        args = tool.takes.model_validate_json(written, strict=ruling.strict or None)
        legible(tool, args)
    except ValidationError as error:
        told = f"{told}: {faults(error)}"
        raise Rejected(told, reason=StopReason.REVIEW_REJECTED) from error
    except Stop as stop:
        raise Rejected(f"{told}: {stop.detail}", reason=StopReason.REVIEW_REJECTED) from stop
    return args
