"""Research: a model searches and reads, within bounds; what it claims in the end has its places.

The model chooses the words of a search, and among the addresses that searches have found. What it
has read by then is kept whatever ends the run. The answer is made of those findings alone, apart
from all that went before.
"""

from contextlib import suppress
from dataclasses import replace

from pydantic import BaseModel, Field

from models.budget import Budget
from models.run import StopReason
from tools.llm import language_model
from tools.page import Page, page
from tools.search import Hits, search
from worker.agents.agent import USUAL, Agent, offer
from worker.decision import Decision
from worker.flow import Flow
from worker.labels.binding import among
from worker.outcome import Stop
from worker.pipeline import pipeline
from worker.pipelines.research_report import Conclusion, Finding, Report, found, supported
from worker.wording import by_language_model

MODEL = "default"
"""Of the settings: SLUICE_MODELS."""
STALE = 4
"""So many searches and pages in a row that brought nothing new are no progress."""
_TURNS_A_SOURCE, _MORE_TURNS = 2, 4


class Question(BaseModel, extra="forbid"):
    question: str = Field(min_length=3, max_length=1_000)
    max_sources: int = Field(default=5, ge=1, le=10)
    """Pages that are read at most."""


class Enough(BaseModel, extra="forbid"):
    """What the model says when it has read enough, or finds no more."""

    because: str = Field(default="", max_length=300)


RESEARCHER = Agent(
    name="researcher",
    instructions=(
        "You look for what answers a question: search with a few words, then read the pages that"
        " promise most, only at addresses that a search has found. Search with other words when"
        " nothing fits. Do not answer the question: say that it is enough when what you have read"
        " answers it, or when there is no more to find."
    ),
    answer=Enough,
    model=by_language_model(MODEL),
    survives=USUAL
    | {
        StopReason.TOOL_DENIED,
        StopReason.TOOL_TIMEOUT,
        StopReason.TOOL_AUTH_FAILED,
        StopReason.TOOL_OUTPUT_INVALID,
    },
)
"""A page that cannot be read is not the end of a research."""

CONCLUDE = Decision(
    name="conclude",
    prompt=(
        "Answer the question by claims that follow from the findings, and from nothing else. Each"
        " claim names in `sources` the `place` of every finding that it rests on, as it is written"
        " there. What the findings do not answer belongs into `open_questions`."
    ),
    answer=Conclusion,
    fallback=None,
    bar=0.5,
    model=by_language_model(MODEL),
)


class _AllRead(Exception):
    """As many pages were read as the client wants."""


@pipeline(
    "research",
    version=1,
    tools=[language_model(MODEL), search, page],
    budget=Budget(steps=60, tool_calls=60, seconds=900),
)
async def research(flow: Flow, asked: Question) -> Report:
    """Search and read about a question, and answer it by what was read."""
    reading = Reading(flow, asked)
    turns = _TURNS_A_SOURCE * asked.max_sources + _MORE_TURNS
    with suppress(_AllRead):
        await flow.act(
            "work",
            replace(RESEARCHER, turns=turns),
            goal=f"Find out: {asked.question}",
            offers=[
                offer(search),
                offer(page, url=among("work/*/search.read:/hits/*/url", strictly=True)),
            ],
            then=reading.keep,
        )
    findings = reading.findings
    if not findings:
        return Report(question=asked.question, open_questions=[asked.question])
    told = await flow.decide("conclude", CONCLUDE, question=asked.question, findings=findings)
    claims = supported(told.claims, findings)
    return Report(
        question=asked.question,
        findings=findings,
        claims=claims,
        open_questions=list(told.open_questions),
        confidence=told.confidence,
        unsupported=len(told.claims) - len(claims),
    )


class Reading:
    """What one run has read so far; the same on every replay."""

    def __init__(self, flow: Flow, asked: Question) -> None:
        self._flow, self._asked = flow, asked
        self.findings: list[Finding] = []
        self._known: set[str] = set()
        self._pages = self._stale = 0

    async def keep(self, step: str, result: BaseModel) -> None:
        """Keep what a search or a page has brought.

        Raises:
            Stop: `no_progress`: again and again it was nothing new, in whatever words.
            _AllRead: It was the last page that is wanted.
        """
        fresh = self._news(result)
        self._stale = 0 if fresh else self._stale + 1
        if self._stale >= STALE:
            told = f"{STALE} searches and pages in a row brought neither an address nor a passage"
            raise Stop(StopReason.NO_PROGRESS, f"{told} that was new")
        if not isinstance(result, Page):
            return
        self._pages += 1
        if fresh:
            for each in found(step, result, self._asked.question):
                if each.text not in {kept.text for kept in self.findings}:
                    self.findings.append(each)
            await self._flow.partial(Report(question=self._asked.question, findings=self.findings))
        if self._pages >= self._asked.max_sources:
            raise _AllRead

    def _news(self, result: BaseModel) -> bool:
        """Whether it holds an address or a passage that nothing before it held."""
        held = set(result.passages) if isinstance(result, Page) else set()
        if isinstance(result, Hits):
            held = {each.url for each in result.hits}
        fresh = held - self._known
        self._known |= held
        return bool(fresh)
