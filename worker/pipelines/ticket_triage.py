"""Ticket triage: rules, the classifier, a language model where one is wanted, a person; one ticket.

Version 3. Without an `assistant` it does what version 2 does, step by step.
"""

from collections.abc import Sequence
from typing import Literal

from models.budget import Budget
from tools import kb
from tools.llm import language_model
from tools.tickets import ticket as tickets
from worker.flow import Flow
from worker.outcome import ToolFailed
from worker.pipeline import pipeline
from worker.pipelines import ticket_triage_v2
from worker.pipelines.ticket_triage_assistant import (
    DRAFT,
    MODEL,
    SECOND,
    SHOWN_CHARS,
    WEIGH,
    Weighed,
    confirmed,
    doubtful,
)
from worker.pipelines.ticket_triage_v2 import (
    Proposal,
    Triage,
    articles_of,
    follow,
    open_once,
    propose,
)
from worker.pipelines.ticket_triage_verdict import doubt


class TicketIn(ticket_triage_v2.TicketIn, extra="forbid"):
    """A ticket as its source has it."""

    assistant: Literal["default"] | None = None
    """The language model of the settings (SLUICE_MODELS) that is asked where the classifier is
    unsure, and that drafts the reply; None: no model is."""


@pipeline(
    "ticket-triage",
    version=3,
    tools=[kb.read, tickets.create, language_model(MODEL)],
    budget=Budget(steps=20, tool_calls=15),
    trusts=("/id", "/source"),
)
async def triage(flow: Flow, ticket: TicketIn) -> Triage:
    """Classify a ticket, draft its answer, and open it at the desk, once for each source and id."""
    articles = await articles_of(flow, ticket)
    verdict = await flow.decide(
        "classify", WEIGH, subject=ticket.subject, text=ticket.text, model=ticket.model
    )
    sure, why = verdict.sure, doubt(verdict)
    if ticket.assistant and verdict.in_scope and not sure:
        sure, why = await _second(flow, ticket, verdict)
        told = f"{verdict.because}; the language model, asked apart, says the same"
        verdict = verdict.model_copy(update={"because": told[:500]}) if sure else verdict
    proposal = propose(verdict, ticket, articles)
    if ticket.assistant:
        proposal = await _drafted(flow, ticket, proposal, articles)
    settled = proposal
    if not sure:
        answer = await flow.ask("confirm", about=proposal, reason=why)
        settled = follow(proposal, answer, ticket, articles)
    by = "classify" if sure else "confirm"
    opened = await open_once(flow, ticket, settled, by) if ticket.autonomy == "act" else None
    return Triage.of(
        ticket,
        settled,
        decided_by=verdict.decided_by if sure else "person",
        articles=articles,
        opened=opened,
    )


async def _second(flow: Flow, ticket: TicketIn, verdict: Weighed) -> tuple[bool, str]:
    """Whether a second opinion settles it; why not. Without one, a person is asked as ever."""
    try:
        opinion = await flow.decide(
            "second",
            SECOND,
            subject=ticket.subject,
            text=ticket.text[:SHOWN_CHARS],
            categories=verdict.categories,
        )
    except ToolFailed:
        return False, doubt(verdict)
    return confirmed(verdict, opinion), doubtful(verdict, opinion)


async def _drafted(
    flow: Flow, ticket: TicketIn, proposal: Proposal, articles: Sequence[kb.Article]
) -> Proposal:
    """With the model's draft, where it has one that holds; else with our own."""
    await flow.partial(
        Triage.of(ticket, proposal, decided_by="model", articles=articles, opened=None)
    )
    try:
        told = await flow.decide(
            "draft",
            DRAFT,
            ticket=f"{ticket.subject}\n{ticket.text}"[:SHOWN_CHARS],
            category=proposal.category,
            articles=articles,
            draft=proposal.reply,
        )
    except ToolFailed:
        return proposal
    return proposal.model_copy(update={"reply": told.text or proposal.reply})
