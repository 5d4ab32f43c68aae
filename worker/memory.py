"""Memory's two verbs: `remember` is a write of ours, done once; `recall` is on record.

Whose tenant's memory it is, no argument says: the run's. What is remembered keeps the label of its
inputs, so that nothing is trusted more for having been remembered.
"""

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import structlog
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json

from models.autonomy import Autonomy
from models.guard import Guard
from models.ledger import EntryState, StepKind
from models.memory import VALUE_BYTES, Scope, check
from models.run import StopReason
from tools.misfit import faults
from worker.checkpoint import Entry
from worker.keeping import Found, Keeping, Wanted
from worker.labels.label import Label
from worker.labels.provenance import Origin, Provenance, found
from worker.labels.sinks import bound
from worker.mismatch import Asked
from worker.outcome import GateShut, Stop
from worker.refusal import refused_by
from worker.steps import Question, Steps

log = structlog.get_logger()

M = TypeVar("M", bound=BaseModel)

LONGEST = timedelta(days=366)
REMEMBER, RECALL = "memory.remember", "memory.recall"


class Filled(NamedTuple):
    """A value by reference: each part keeps the label of where it comes from."""

    model: type[BaseModel]
    parts: Mapping[str, Any]


def filled(model: type[BaseModel], /, **parts: Any) -> Filled:
    """For `remember`: `filled(Quarter, name=ref("input:/quarter"))`."""
    return Filled(model, parts)


class Memory:
    """What one held run remembers and recalls."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    async def remember(
        self, step: str, scope: Scope, key: str, value: BaseModel | Filled, ttl: timedelta
    ) -> None:
        """See `Flow.remember`."""
        if not timedelta(0) < ttl <= LONGEST:
            raise ValueError(f"a memory is kept for up to {LONGEST.days} days, not {ttl}")
        held, number = self._steps.held, self._steps.begin(step)
        try:
            written, labels = _written(scope, key, value, held.provenance)
            told = {"scope": str(scope), "key": key, "ttl_s": ttl.total_seconds()}
            args = to_json(told | {"bytes": len(written)})
            digest = hashlib.sha256(b"remember\0" + args + b"\0" + written).digest()
            record = held.record.get(step)
            asked = Asked(StepKind.REMEMBER, REMEMBER, args)
            if record is not None and record.replay(digest, asked) is not None:
                return
            held.begin(fresh=True)
            await self._steps.gatekeeper.admit_memory(held)
            withheld = held.autonomy is Autonomy.OBSERVE
            if withheld:  # beside the digest: a replay comes by here at another level too
                args = to_json(told | {"bytes": len(written), "withheld": True})
            entry = self._entry(step, number, args, digest, labels)
            kept = Keeping(entry, str(scope), key, written, labels, ttl.total_seconds(), withheld)
            await self._steps.journal.remember(kept)
        except (Stop, GateShut) as error:
            if (said := refused_by(error)) is not None:
                await self._steps.refused(step, REMEMBER, said)
            raise

    def _entry(self, step: str, number: int, args: bytes, digest: bytes, labels: bytes) -> Entry:
        return Entry(
            run_id=self._steps.held.id,
            attempt=self._steps.held.attempt,
            step=step,
            number=number,
            kind=StepKind.REMEMBER,
            args_hash=digest,
            token=uuid4(),
            state=EntryState.SETTLED,
            tool=REMEMBER,
            args=args,
            policy=self._steps.policy,
            labels=labels,
        )

    async def recall(self, step: str, kind: type[M], scope: Scope, key: str) -> M | None:
        """See `Flow.recall`."""
        held = self._steps.held
        try:
            _check(scope, key)
        except Stop as error:
            if (said := refused_by(error)) is not None:
                await self._steps.refused(step, RECALL, said)
            raise

        async def look() -> tuple[bytes, int]:
            there = await self._steps.journal.recall(Wanted(held.tenant, str(scope), key))
            return _fitting(step, kind, there), 0

        asked = to_json({"scope": str(scope), "key": key, "as": kind.__name__})
        digest = hashlib.sha256(b"recall\0" + asked).digest()
        question = Question(RECALL, asked, digest, StepKind.RECALL)
        answer = from_json(await self._steps.once(step, question, look))
        if answer is None:
            return None
        labels = {at: Label.of(each) for at, each in answer["labels"].items()}
        written = to_json(answer["value"])
        try:
            value = kind.model_validate_json(written)
        except ValidationError as error:
            told = f"what step {step!r} recalled is no {kind.__name__} any more: {faults(error)}"
            raise Stop(StopReason.REPLAY_MISMATCH, told) from error
        held.provenance.origins[step] = Origin(written, kind, kept=labels)
        return value


def _check(scope: Scope, key: str) -> None:
    try:
        check(scope, key)
    except ValueError as error:
        raise Stop(StopReason.TOOL_DENIED, str(error), Guard.CONTRACT) from error


def _written(
    scope: Scope, key: str, value: BaseModel | Filled, provenance: Provenance
) -> tuple[bytes, bytes]:
    """A value as it is kept, and its labels by JSON pointer.

    Raises:
        Stop: It does not fit its type, or is too large; or it cannot be named so.
        ValueError: What is written of its type cannot be read by it again.
    """
    _check(scope, key)
    labels: dict[str, Label] = {}
    given: Mapping[str, Any] = {}
    if isinstance(value, Filled):
        given, references = bound(value.parts, provenance)
        labels = {at: each.label for at, each in references.items()}
        try:
            value = value.model.model_validate_json(to_json(given))
        except ValidationError as error:
            told = f"{REMEMBER} does not take this value: {faults(error)}"
            raise Stop(StopReason.TOOL_DENIED, told, Guard.CONTRACT) from error
    written = value.__pydantic_serializer__.to_json(value)
    if len(written) > VALUE_BYTES:
        told = f"{REMEMBER} takes up to {VALUE_BYTES:,} bytes, not {len(written):,}"
        raise Stop(StopReason.TOOL_DENIED, told, Guard.CONTRACT)
    type(value).model_validate_json(written)
    same = _unchanged(labels, from_json(to_json(given)), from_json(written))
    return written, to_json({at: each.document() for at, each in same.items()})


def _fitting(step: str, kind: type[BaseModel], there: Found | None) -> bytes:
    """What was found, as its type reads it; what does not fit it (any more) is not there."""
    if there is None:
        return b"null"
    try:
        written = to_json(kind.model_validate_json(there.value))
    except ValidationError as error:
        log.warning("memory.unfit", step=step, kind=kind.__name__, told=faults(error))
        return b"null"
    kept = {at: Label.of(each) for at, each in from_json(there.labels).items()}
    value = from_json(written)
    same = _unchanged(kept, from_json(there.value), value)
    return to_json({"value": value, "labels": {at: each.document() for at, each in same.items()}})


def _unchanged(labels: Mapping[str, Label], was: Any, now: Any) -> dict[str, Label]:
    """A label is of a value: what a type has made of it, or moved elsewhere, has none."""
    return {at: each for at, each in labels.items() if _is_same(at, was, now)}


def _is_same(pointer: str, was: Any, now: Any) -> bool:
    try:
        return bool(found(was, pointer, pointer) == found(now, pointer, pointer))
    except ValueError:
        return False
