"""Ticket triage, version 2: rules first, the classifier second, a person third.

It stays for the runs that were admitted with it; version 3 does the same, with two questions more.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, StringConstraints

from models.budget import Budget
from tools import kb
from tools.tickets import ticket as tickets
from tools.tickets.form import Priority, TicketRef
from worker.decision import Answer
from worker.flow import Flow
from worker.labels.binding import made, ref
from worker.outcome import ToolFailed
from worker.pipeline import pipeline
from worker.pipelines.ticket_triage_rails import BODY_CHARS, TITLE_CHARS, queue_of, reference
from worker.pipelines.ticket_triage_reply import REPLY_CHARS, draft
from worker.pipelines.ticket_triage_verdict import CLASSIFY, Classification, Name, doubt

Autonomy = Literal["observe", "act"]


class TicketIn(BaseModel, extra="forbid"):
    """A ticket as its source has it."""

    id: str = Field(min_length=1, max_length=150)
    source: str = Field(default="backlog", min_length=1, max_length=40)
    subject: str = Field(default="", max_length=1_000)
    text: str = Field(min_length=1, max_length=100_000)
    created_at: str | None = Field(default=None, max_length=40)
    autonomy: Autonomy = "act"
    """observe: nothing outside is written, what would be is in the result."""
    model: str | None = Field(default=None, min_length=1, max_length=4_096)
    """A file of `sluice train`, readable by the workers; None is the sample model."""


class Proposal(Answer):
    """An answer drafted in advance, which a person may approve as it is or edit."""

    category: Name
    queue: Name
    priority: Priority
    reply: Annotated[str, StringConstraints(max_length=REPLY_CHARS)]


class Source(BaseModel, extra="forbid"):
    title: str
    path: str


class Triage(BaseModel, extra="forbid"):
    """What became of a ticket."""

    ticket_id: str
    category: str
    priority: Priority
    queue: str
    confidence: float = Field(ge=0, le=1)
    decided_by: Literal["rule", "model", "person"]
    because: str
    reply: str
    articles: list[Source]
    autonomy: Autonomy
    action: Literal["proposed", "opened", "already_there"]
    desk_id: str | None = None
    desk_url: str | None = None

    @classmethod
    def of(
        cls,
        ticket: TicketIn,
        settled: Proposal,
        *,
        decided_by: Literal["rule", "model", "person"],
        articles: Sequence[kb.Article],
        opened: TicketRef | None,
    ) -> Self:
        return cls(
            ticket_id=ticket.id,
            **settled.model_dump(),
            decided_by=decided_by,
            articles=[Source(title=each.title, path=each.path) for each in articles],
            autonomy=ticket.autonomy,
            action=_action(opened),
            desk_id=opened.id if opened else None,
            desk_url=opened.url if opened else None,
        )


@pipeline(
    "ticket-triage",
    version=2,
    tools=[kb.read, tickets.create],
    budget=Budget(steps=10, tool_calls=5),
    trusts=("/id", "/source"),
)
async def triage(flow: Flow, ticket: TicketIn) -> Triage:
    """Classify a ticket, draft its answer, and open it at the desk, once for each source and id."""
    articles = await articles_of(flow, ticket)
    verdict = await flow.decide(
        "classify", CLASSIFY, subject=ticket.subject, text=ticket.text, model=ticket.model
    )
    proposal = propose(verdict, ticket, articles)
    settled = proposal
    if not verdict.sure:
        answer = await flow.ask("confirm", about=proposal, reason=doubt(verdict))
        settled = follow(proposal, answer, ticket, articles)
    by = "classify" if verdict.sure else "confirm"
    opened = await open_once(flow, ticket, settled, by) if ticket.autonomy == "act" else None
    return Triage.of(
        ticket,
        settled,
        decided_by=verdict.decided_by if verdict.sure else "person",
        articles=articles,
        opened=opened,
    )


async def articles_of(flow: Flow, ticket: TicketIn) -> Sequence[kb.Article]:
    query = f"{ticket.subject} {ticket.text}"[: kb.QUERY_CHARS]
    try:
        found = await flow.call("articles", kb.read, query=query)
    except ToolFailed:  # a ticket can be triaged without
        return ()
    return found.articles


async def open_once(flow: Flow, ticket: TicketIn, settled: Proposal, by: str) -> TicketRef:
    """Which ticket it is the client says; what goes with it was decided in step `by`."""
    category = ref(f"{by}:/category")
    follows = settled.queue == queue_of(settled.category)
    return await flow.call(
        "open",
        tickets.create,
        external_ref=made(reference, ref("input:/source"), ref("input:/id")),
        title=(ticket.subject or ticket.text)[:TITLE_CHARS],
        body=ticket.text[:BODY_CHARS],
        category=category,
        queue=made(queue_of, category) if follows else ref(f"{by}:/queue"),
        priority=ref(f"{by}:/priority"),
    )


def propose(verdict: Classification, ticket: TicketIn, articles: Sequence[kb.Article]) -> Proposal:
    queue = queue_of(verdict.category)
    return Proposal(
        category=verdict.category,
        queue=queue,
        priority=verdict.priority,
        confidence=verdict.confidence,
        because=verdict.because,
        reply=reply_of(ticket, verdict.category, verdict.priority, articles, queue=queue),
    )


def follow(
    proposal: Proposal, answer: Proposal, ticket: TicketIn, articles: Sequence[kb.Article]
) -> Proposal:
    """What a person left alone follows what they changed: queue the category, reply all."""
    queue = answer.queue
    if answer.category != proposal.category and queue == proposal.queue:
        queue = queue_of(answer.category)
    reply = answer.reply
    said = (answer.category, queue, answer.priority)
    if reply == proposal.reply and said != (proposal.category, proposal.queue, proposal.priority):
        reply = reply_of(ticket, answer.category, answer.priority, articles, queue=queue)
    return answer.model_copy(update={"queue": queue, "reply": reply})


def reply_of(
    ticket: TicketIn,
    category: str,
    priority: Priority,
    articles: Sequence[kb.Article],
    *,
    queue: str,
) -> str:
    return draft(
        text=f"{ticket.subject}\n{ticket.text}",
        category=category,
        queue=queue,
        urgent=priority is Priority.URGENT,
        articles=articles,
    )


def _action(opened: TicketRef | None) -> Literal["proposed", "opened", "already_there"]:
    if opened is None:
        return "proposed"
    return "opened" if opened.created else "already_there"
