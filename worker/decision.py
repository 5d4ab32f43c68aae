"""A decision: a typed question, its rules, its confidence bar and its fallback, as one value."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from models.run import StopReason
from tools.misfit import misfit
from worker.outcome import Stop
from worker.wording import LanguageModel


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
    with None. So does a model that is a function, which may take its time: a classifier in a
    thread. A language model is asked through the gateway (worker/asking.py).
    """

    name: str
    prompt: str
    answer: type[T]
    fallback: T | None
    """None: a run whose model has no answer that fits stops as `model_output_invalid`."""
    bar: float
    """Below this confidence a pipeline should ask a person."""
    rules: tuple[Callable[..., T | None], ...] = ()
    model: Callable[..., Awaitable[T | None]] | LanguageModel | None = None
    after: tuple[Callable[..., T | None], ...] = ()
    """Rules that have the last word: each takes what the model answered and the inputs by name, and
    answers in its place or passes with None."""
    bits: Mapping[str, float] = field(default_factory=dict)
    """By JSON pointer of the answer: how many bits it can carry there at most, where its type does
    not say; the author's word, such as for a classifier of so many classes."""

    async def decide(
        self, ask: Callable[[LanguageModel], Awaitable[T]] | None = None, /, **inputs: Any
    ) -> T:
        """By the rules, or else by the model; `ask` puts the question to a language model.

        Raises:
            Stop: `model_output_invalid`: nobody answers, and there is no fallback.
            RuntimeError: A language model would be asked, and this is no run: it has no budget.
        """
        answer = self.by_rule(**inputs)
        if answer is not None:
            return answer
        if isinstance(self.model, LanguageModel):
            if ask is None:
                raise RuntimeError(f"{self.name} asks a language model, which only a run can do")
            answer = await ask(self.model)
        elif self.model is not None:
            answer = await self.model(**inputs)
        if answer is None:
            answer = self.fallback
        if answer is None:
            raise Stop(StopReason.MODEL_OUTPUT_INVALID, f"nobody answers {self.name}")
        return self._amended(answer, **inputs)

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

    def _amended(self, answer: T, **inputs: Any) -> T:
        for rule in self.after:
            answer = rule(answer, **inputs) or answer
        return answer
