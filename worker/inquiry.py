"""An inquiry: one question to a person, and what came of it; a step that is nothing else."""

from datetime import timedelta
from typing import TypeVar

from pydantic import BaseModel

from models.ledger import StepKind
from models.review import ReviewKind
from worker.labels.provenance import Origin
from worker.mismatch import Asked
from worker.outcome import Question
from worker.steps import Steps

M = TypeVar("M", bound=BaseModel)


def inquire(
    steps: Steps, step: str, kind: ReviewKind, about: M, text: str, *,
    digest: bytes, within: timedelta,
) -> M | Question:  # fmt: skip
    """What a person has said, to be trusted as a person's word; or the question, still to be asked.

    Raises:
        ToolFailed: The person has rejected it, or nobody answered in time.
    """
    held, number = steps.held, steps.begin(step)
    proposal = about.__pydantic_serializer__.to_json(about)
    record = held.record.get(step)
    now = Asked(StepKind.ASK, None, proposal)
    if record is not None and (result := record.replay(digest, now)) is not None:
        held.repetition.answered()
        answer = type(about).model_validate_json(result)
        held.provenance.origins[step] = Origin(answer, type(about), person=True)
        return answer
    held.begin(fresh=record is None)
    return Question(
        step=step,
        number=number,
        kind=kind,
        text=text,
        proposal=proposal,
        answer_schema=type(about).model_json_schema(),
        args_hash=digest,
        args=proposal,
        decide_within=within,
        fresh=record is None,
    )
