"""Ticket triage, version 1: by rules alone. It stays for the runs that were admitted with it."""

import re
from enum import StrEnum

from pydantic import BaseModel, Field

from models.budget import Budget
from tools.tickets import ticket as tickets
from tools.tickets.form import Priority
from worker.decision import Answer, Decision
from worker.flow import Flow
from worker.labels.binding import made, ref
from worker.pipeline import pipeline
from worker.pipelines.ticket_triage_rails import (
    BODY_CHARS,
    QUEUES,
    TITLE_CHARS,
    URGENT_WORDS,
    reference,
    words,
)


class Category(StrEnum):
    BILLING = "billing"
    DELIVERY = "delivery"
    RETURNS = "returns"
    ACCOUNT_ACCESS = "account_access"
    TECHNICAL = "technical"
    SUBSCRIPTION = "subscription"
    FEEDBACK = "feedback"
    GENERAL = "general"


class TicketIn(BaseModel, extra="forbid"):
    """A ticket as its source has it."""

    id: str = Field(min_length=1, max_length=150)
    source: str = Field(default="backlog", min_length=1, max_length=40)
    subject: str = Field(default="", max_length=1_000)
    text: str = Field(min_length=1, max_length=100_000)
    created_at: str | None = Field(default=None, max_length=40)


class Classification(Answer):
    category: Category
    priority: Priority


class Triage(BaseModel, extra="forbid"):
    """What became of a ticket."""

    ticket_id: str
    category: Category
    priority: Priority
    queue: str
    because: str
    desk_id: str
    desk_url: str
    already_there: bool
    """The desk had a ticket for this one before; it was left as it was."""


CATEGORY_WORDS: dict[Category, re.Pattern[str]] = {
    Category.RETURNS: words(
        r"refund", r"return(?:s|ed|ing)?\b", r"send (?:it|them|this) back", r"exchange\b",
        r"faulty", r"broken", r"damaged", r"defective", r"replacement", r"rücksend", r"retour",
        r"zurück", r"rembours", r"devol", r"rimbors", r"reso\b", r"zwrot", r"kaputt",
    ),
    Category.SUBSCRIPTION: words(
        r"subscri", r"cancel (?:my|the) (?:box|plan|membership)", r"pause", r"renew",
        r"monthly box", r"box\b", r"abo\b", r"abonn", r"abonament", r"suscrip", r"abbonament",
        r"assinatura",
    ),
    Category.ACCOUNT_ACCESS: words(
        r"log ?in", r"log ?on", r"sign ?in", r"password", r"passwort", r"account", r"2fa",
        r"two[- ]factor", r"verification code", r"locked", r"konto", r"mot de passe", r"contraseñ",
        r"wachtwoord", r"hasł", r"e-?mail address", r"pin\b", r"passcode", r"identity", r"verify",
    ),
    Category.BILLING: words(
        r"charge", r"invoice", r"payment", r"paid\b", r"pay\b", r"card\b", r"bank\b", r"fee\b",
        r"fees\b", r"price", r"vat\b", r"transfer", r"top[- ]?up", r"cash\b", r"currenc",
        r"exchange rate", r"direct debit", r"balance", r"statement", r"rechnung", r"zahl",
        r"facture", r"paiement", r"factura", r"cobr", r"fattura", r"factuur", r"faktur",
        r"pagament",
    ),
    Category.DELIVERY: words(
        r"deliver", r"parcel", r"package", r"courier", r"tracking", r"shipp", r"arriv", r"dispatch",
        r"post ?code", r"address", r"where is my", r"liefer", r"paket", r"livraison", r"colis",
        r"envío", r"entrega", r"consegna", r"pacco", r"bezorg", r"paczk", r"pakiet",
    ),
    Category.TECHNICAL: words(
        r"app\b", r"crash", r"error", r"bug\b", r"website", r"page", r"browser", r"load",
        r"freez", r"doesn'?t work", r"not working", r"checkout", r"traceback", r"button",
        r"funktioniert nicht", r"ne marche pas", r"no funciona", r"non funziona",
    ),
    Category.FEEDBACK: words(
        r"thank", r"love\b", r"great\b", r"suggest", r"compliment", r"feedback", r"wonderful",
        r"idea\b", r"danke", r"merci", r"gracias", r"grazie", r"bedankt", r"dzięk", r"obrigad",
    ),
}  # fmt: skip
_WEIGHED_CHARS = 4_000
"""A rule reads this much of a text; what matters stands at its beginning."""


def by_words(*, subject: str, text: str) -> Classification | None:
    """The category whose words occur most, the subject's counting twice; None when none does."""
    body = text[:_WEIGHED_CHARS]
    hits = {
        category: 2 * len(told.findall(subject)) + len(told.findall(body))
        for category, told in CATEGORY_WORDS.items()
    }
    best = max(hits, key=lambda category: hits[category])
    if hits[best] == 0:
        return None
    urgent = URGENT_WORDS.search(subject) or URGENT_WORDS.search(body)
    return Classification(
        category=best,
        priority=Priority.URGENT if urgent else Priority.NORMAL,
        confidence=round(hits[best] / sum(hits.values()), 3),
        because=f"{hits[best]} of {sum(hits.values())} words that tell a category"
        + (f"; '{urgent.group().lower()}' makes it urgent" if urgent else ""),
    )


CLASSIFY = Decision(
    name="classify",
    prompt="Which queue should handle this ticket, and how urgent is it for the customer?",
    answer=Classification,
    rules=(by_words,),
    fallback=Classification(
        category=Category.GENERAL, priority=Priority.LOW, confidence=0, because="no rule knows it"
    ),
    bar=0.0,
)
"""Rules alone cannot say how sure they are, so nothing goes to a person for it in version 1."""


@pipeline(
    "ticket-triage",
    version=1,
    tools=[tickets.create],
    budget=Budget(steps=10, tool_calls=5),
    trusts=("/id", "/source"),
)
async def triage(flow: Flow, ticket: TicketIn) -> Triage:
    """Classify a ticket and open it at the desk, once for each source and id."""
    verdict = await flow.decide("classify", CLASSIFY, subject=ticket.subject, text=ticket.text)
    queue = QUEUES[verdict.category]
    opened = await flow.call(
        "open",
        tickets.create,
        external_ref=made(reference, ref("input:/source"), ref("input:/id")),
        title=(ticket.subject or ticket.text)[:TITLE_CHARS],
        body=ticket.text[:BODY_CHARS],
        category=ref("classify:/category"),
        queue=ref("classify:/category").map(QUEUES),
        priority=ref("classify:/priority"),
    )
    return Triage(
        ticket_id=ticket.id,
        category=verdict.category,
        priority=verdict.priority,
        queue=queue,
        because=verdict.because,
        desk_id=opened.id,
        desk_url=opened.url,
        already_there=not opened.created,
    )
