"""The verdict on a ticket: rules first, the local classifier second; how sure, and why."""

import re
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from models.run import StopReason
from tools.classifier.classify import Verdict, classify
from tools.classifier.modelfile import ModelUnusable
from tools.tickets.form import Priority
from worker.decision import Answer, Decision
from worker.outcome import Stop
from worker.pipelines.ticket_triage_rails import priority_of, urgency

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]


class Classification(Answer):
    category: Name
    priority: Priority
    decided_by: Literal["rule", "model"]
    bar: float = Field(ge=0, le=1)
    """Below this confidence a person is asked. The model's own, from its training."""
    in_scope: bool = True
    model: str | None = None
    """The hash of the model that answered."""

    @property
    def sure(self) -> bool:
        return self.in_scope and self.confidence >= self.bar


AUTOMATIC = re.compile(
    r"\s*(?:automatic reply|auto(?:matic)?[- ]?reply|out of (?:the )?office|undeliverable"
    r"|mail delivery (?:failed|subsystem)|delivery status notification|abwesenheitsnotiz"
    r"|automatische antwort|réponse automatique|respuesta automática|risposta automatica)\b",
    re.IGNORECASE,
)


def by_sender(*, subject: str, text: str, model: str | None) -> Classification | None:  # noqa: ARG001  # a rule takes all inputs
    """Mail that a machine has written needs nobody's judgement."""
    found = AUTOMATIC.match(subject) or (None if subject.strip() else AUTOMATIC.match(text))
    if found is None:
        return None
    return Classification(
        category="automatic",
        priority=priority_of("automatic", None),
        confidence=0.99,
        bar=0.5,
        decided_by="rule",
        because=f"it begins with '{found.group().strip().lower()}': a machine wrote it",
    )


async def by_model(*, subject: str, text: str, model: str | None) -> Classification:
    """What the classifier makes of it; the words of the rails decide the priority."""
    return answered(await judged(subject, text, model), subject=subject, text=text)


async def judged(subject: str, text: str, model: str | None) -> Verdict:
    """The classifier's verdict.

    Raises:
        Stop: `model_failed`: there is no such model.
    """
    try:
        return await classify(f"{subject}\n{text}".strip(), model=model)
    except ModelUnusable as error:
        raise Stop(StopReason.MODEL_FAILED, str(error)) from error


def answered(verdict: Verdict, *, subject: str, text: str) -> Classification:
    """A verdict as a ticket's; the words of the rails decide the priority."""
    urgent = urgency(subject=subject, text=text)
    found = verdict.prediction
    return Classification(
        category=found.category,
        priority=priority_of(found.category, urgent),
        confidence=found.confidence,
        bar=verdict.facts.threshold,
        in_scope=found.in_scope,
        decided_by="model",
        because=_because(verdict, urgent),
        model=verdict.hash,
    )


CLASSIFY = Decision(
    name="classify",
    prompt="Which queue should handle this ticket, and how urgent is it for the customer?",
    answer=Classification,
    rules=(by_sender,),
    model=by_model,
    fallback=Classification(
        category="general", priority=Priority.NORMAL, confidence=0, bar=1, decided_by="rule",
        because="neither a rule nor the classifier knows it",
    ),
    bar=1.0,
    bits={"/category": 10},  # a classifier has fewer than 1,024 categories
)  # fmt: skip
"""Each answer carries its own bar."""


def doubt(verdict: Classification) -> str:
    """Why a person is asked, in one sentence."""
    if not verdict.in_scope:
        return (
            f"it looks like nothing that we handle; if it is, then {verdict.category!r} is the"
            f" likeliest, {verdict.confidence:.0%} sure where {verdict.bar:.0%} are needed"
        )
    return (
        f"only {verdict.confidence:.0%} sure of {verdict.category!r}, and {verdict.bar:.0%} are"
        " needed to answer without a person"
    )


def _because(verdict: Verdict, urgent: str | None) -> str:
    words = " and ".join(f"'{word[:30]}'" for word in verdict.prediction.telling)
    told = f"the classifier goes by {words}" if words else "no single word tells the classifier"
    if not verdict.prediction.in_scope:
        told = "the classifier finds it unlike everything we handle"
    return f"{told}; '{urgent}' makes it urgent" if urgent else told
