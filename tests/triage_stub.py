"""A `ticket-triage` whose outcome the ticket's own words decide; the contract is the real one's."""

from typing import Literal

from pydantic import BaseModel, Field

from models.run import StopReason
from tools.tickets import ticket as tickets
from tools.tickets.form import Priority
from worker.decision import Answer
from worker.flow import Flow
from worker.labels.binding import fixed
from worker.outcome import ToolFailed
from worker.pipeline import Catalogue, pipeline


class TicketIn(BaseModel, extra="forbid"):
    id: str = Field(min_length=1, max_length=150)
    source: str = "backlog"
    subject: str = ""
    text: str = Field(min_length=1, max_length=100_000)
    created_at: str | None = None
    autonomy: Literal["observe", "act"] = "act"
    model: str | None = None


class Draft(Answer):
    category: Literal["billing", "delivery"]
    priority: Priority
    queue: str
    reply: str


class Triage(BaseModel, extra="forbid"):
    ticket_id: str
    category: str
    priority: Priority
    queue: str
    confidence: float
    decided_by: Literal["rule", "model", "person"]
    because: str
    reply: str
    articles: list[dict[str, str]]
    autonomy: str
    action: Literal["proposed", "opened", "already_there"]
    desk_id: str | None
    desk_url: str | None


@pipeline("ticket-triage", version=2, tools=[tickets.create])
async def triage(flow: Flow, ticket: TicketIn) -> Triage:
    """`unsure` in the text goes to a person, `broken` fails, the rest is answered."""
    if "broken" in ticket.text:
        raise ToolFailed("this ticket is broken", StopReason.TOOL_FAILED)
    draft = Draft(
        category="billing" if "paid" in ticket.text else "delivery",
        priority=Priority.NORMAL,
        queue="logistics",
        confidence=0.3 if "unsure" in ticket.text else 0.97,
        because="it says so",
        reply=f"Dear customer,\nabout {ticket.subject}: we look into it.",
    )
    decided_by: Literal["rule", "person"] = "rule"
    if draft.confidence < 0.5:
        draft = await flow.ask("confirm", about=draft, reason="only 30 % sure of the category")
        decided_by = "person"
    opened = None
    if ticket.autonomy == "act":
        opened = await flow.call(
            "open",
            tickets.create,
            external_ref=fixed(f"{ticket.source}:{ticket.id}"),
            title=(ticket.subject or ticket.text)[:200],
            body=ticket.text[:20_000],
            category=fixed(draft.category),
            queue=fixed(draft.queue),
            priority=draft.priority,
        )
    return Triage(
        ticket_id=ticket.id,
        category=draft.category,
        priority=draft.priority,
        queue=draft.queue,
        confidence=draft.confidence,
        decided_by=decided_by,
        because=draft.because,
        reply=draft.reply,
        articles=[{"title": "Where is my parcel?", "path": "delivery/where.md"}],
        autonomy=ticket.autonomy,
        action="proposed" if opened is None else "opened" if opened.created else "already_there",
        desk_id=opened.id if opened else None,
        desk_url=opened.url if opened else None,
    )


PIPELINES: Catalogue = {(triage.name, triage.version): triage}
