"""An assessment: what a run knows and by which step, what it takes for granted, what it lacks."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from worker.decision import Answer
from worker.wording import LanguageModel

UNKNOWN = "unknown"
"""What a person says who does not know either: the run goes on without it."""
_FROZEN = ConfigDict(extra="forbid", frozen=True)


class Fact(BaseModel):
    """Something that the result of a step has confirmed."""

    model_config = _FROZEN

    fact: str = Field(min_length=1, max_length=500)
    step: str = Field(min_length=1, max_length=400)


class Assumption(BaseModel):
    """Something that is taken as true, and that no step has confirmed."""

    model_config = _FROZEN

    fact: str = Field(min_length=1, max_length=500)
    because: str = Field(min_length=1, max_length=500)


class Gap(BaseModel):
    """Something that one would need to know."""

    model_config = _FROZEN

    question: str = Field(min_length=1, max_length=300)
    critical: bool
    """Without it the run must not go on."""


class Claims(Answer):
    """What an assessor says of a run, before anybody has looked at it."""

    confidence: float = Field(default=1, ge=0, le=1)
    established: list[Fact] = Field(default=[], max_length=30)
    assumed: list[Assumption] = Field(default=[], max_length=30)
    unknown: list[Gap] = Field(default=[], max_length=10)


class GapAnswer(BaseModel):
    """What a person answers to a gap; `unknown` where nobody knows."""

    model_config = _FROZEN

    answer: str = Field(min_length=1, max_length=2_000)

    @property
    def known(self) -> bool:
        return self.answer.strip().casefold() not in {"", UNKNOWN}


class Established(BaseModel):
    """A fact, and the settled step of this run that proves it."""

    model_config = _FROZEN

    fact: str
    step: str
    """A person's answer is a step as well: `ref("STEP:/answer")` is that person's word."""
    by: Literal["step", "person"] = "step"
    question: str = ""
    """The gap that a person has closed."""


class Assessment(BaseModel):
    """What a pipeline gets: nothing is established without its step, and critical gaps are gone,
    or a person knows of them."""

    model_config = _FROZEN

    established: list[Established] = []
    assumed: list[Assumption] = []
    unknown: list[Gap] = []


Claim = Callable[..., Awaitable[Claims | None]]
"""A model that is a function. It gets `goal`, `about`, `steps` (each with its name, its tool and
what came of it) and `complaints` (about what it said before) by name."""


@dataclass(frozen=True)
class Assessor:
    """Who assesses: a language model that the pipeline declares, or a function."""

    name: str
    prompt: str
    model: Claim | LanguageModel
    reasks: int = 2
    """So often a function is told what is wrong; a language model as often as it says itself."""
