"""The report of a research: what was read, and what follows from it, each with its place."""

import re
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, Field

from tools.page import Page
from worker.decision import Answer

_OF_A_PAGE = 2
"""So many passages of one page are kept, those that have most to do with the question."""
_SHORT = 3
"""Words of so few letters tell nothing."""


class Finding(BaseModel, extra="forbid", frozen=True):
    """A passage that was read."""

    place: str
    """The step and the JSON pointer of its result: `work/3/page.read:/passages/0`."""
    url: str
    title: str
    text: str


class Claim(BaseModel, extra="forbid", frozen=True):
    """One sentence of the answer."""

    text: str = Field(min_length=1, max_length=500)
    sources: tuple[str, ...] = Field(min_length=1, max_length=5)
    """The places of the findings that it rests on."""


class Conclusion(Answer):
    """What a model makes of the findings."""

    claims: tuple[Claim, ...] = Field(max_length=10)
    open_questions: tuple[str, ...] = Field(default=(), max_length=5)


class Report(BaseModel, extra="forbid"):
    """A partial one has findings, and no claims yet."""

    question: str
    findings: list[Finding] = []
    claims: list[Claim] = []
    open_questions: list[str] = []
    confidence: float | None = None
    unsupported: int = 0
    """Claims that were left out, for what they name as their source was not read."""


def found(step: str, page: Page, question: str) -> list[Finding]:
    """The passages of a page that share most words with the question, in their order."""
    wanted = _words(question)
    shared = [len(wanted & _words(each)) for each in page.passages]
    best = sorted(range(len(shared)), key=lambda n: (-shared[n], n))[:_OF_A_PAGE]
    return [
        Finding(
            place=f"{step}:/passages/{n}", url=page.url, title=page.title, text=page.passages[n]
        )
        for n in sorted(best)
    ]


def supported(claims: Iterable[Claim], findings: Sequence[Finding]) -> list[Claim]:
    """The claims that rest on findings of this run; of their sources, only those."""
    places = {each.place for each in findings}
    held = [
        each.model_copy(update={"sources": tuple(dict.fromkeys(
            place for place in each.sources if place in places
        ))})
        for each in claims
    ]  # fmt: skip
    return [each for each in held if each.sources]


def _words(text: str) -> set[str]:
    return {each for each in re.findall(r"\w+", text.lower()) if len(each) > _SHORT}
