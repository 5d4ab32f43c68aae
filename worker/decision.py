"""A decision: a typed question, its rules, its confidence bar and its fallback, as one value."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from models.run import StopReason
from tools.misfit import misfit
from worker.outcome import Stop


class Answer(BaseModel):
    """The base of what a decision answers: how sure it is, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    confidence: float = Field(ge=0, le=1)
    because: str = Field(default="", max_length=500)


T = TypeVar("T", bound=Answer)


@dataclass(frozen=True)
class Decision(Generic[T]):
    """Rules answer in their order, then the model is asked; what nobody answers gets the fallback.

    A rule takes the decision's inputs by name, looks at nothing else, and answers or passes
    with None. So does the model, which may take its time: a classifier in a thread.
    """

    name: str
    prompt: str
    answer: type[T]
    fallback: T
    bar: float
    """Below this confidence a pipeline should ask a person."""
    rules: tuple[Callable[..., T | None], ...] = ()
    model: Callable[..., Awaitable[T | None]] | None = None
    bits: Mapping[str, float] = field(default_factory=dict)
    """By JSON pointer of the answer: how many bits it can carry there at most, where its type does
    not say; the author's word, such as for a classifier of so many classes."""

    async def decide(self, **inputs: Any) -> T:
        answer = self.by_rule(**inputs)
        if answer is None and self.model is not None:
            answer = await self.model(**inputs)
        return self.fallback if answer is None else answer

    def written(self, found: Any) -> bytes:
        """An answer as it is recorded.

        Raises:
            Stop: It is none of the type that was asked for: nothing is recorded.
        """
        try:
            answer: bytes = found.__pydantic_serializer__.to_json(found, warnings="error")
            self.answer.model_validate_json(answer)
        except (ValueError, AttributeError) as error:
            told = f"{self.name} was answered outside its type: {misfit(found, error)}"
            raise Stop(StopReason.MODEL_OUTPUT_INVALID, told) from error
        return answer

    def by_rule(self, **inputs: Any) -> T | None:
        """What the rules alone say; None where none of them answers."""
        for rule in self.rules:
            answer = rule(**inputs)
            if answer is not None:
                return answer
        return None
