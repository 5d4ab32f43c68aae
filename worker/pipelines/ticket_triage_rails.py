"""Rails: what holds for a ticket whatever a model says of it: its reference, queue and urgency."""

import hashlib
import re
from urllib.parse import quote

from tools.tickets.form import Priority

TITLE_CHARS, BODY_CHARS, REF_CHARS = 200, 20_000, 200
_KEPT_IN_IDS = "/:#@+=,!~*()"
_WEIGHED_CHARS = 4_000
"""A rule reads this much of a text; what matters stands at its beginning."""

QUEUES = {
    "billing": "payments",
    "delivery": "logistics",
    "returns": "logistics",
    "account_access": "accounts",
    "technical": "engineering",
    "subscription": "accounts",
    "feedback": "care",
    "general": "front-desk",
    "automatic": "front-desk",
}
"""Of the sample's categories. A category of somebody's own has the queue of its name."""


def words(*alternatives: str) -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(alternatives) + r")", re.IGNORECASE)


URGENT_WORDS = words(
    r"fraud", r"stolen", r"hacked", r"unauthori[sz]ed", r"charged twice", r"double[- ]charged",
    r"legal action", r"lawyer", r"locked out", r"urgent", r"immediately", r"asap", r"dringend",
    r"urgente?\b", r"betrug", r"fraude", r"gestohlen", r"anwalt",
)  # fmt: skip
ALWAYS_URGENT = words(
    r"solicitors?\b", r"small claims", r"(?:take|taking) you to court", r"ombudsman",
    r"trading standards", r"police\b", r"polizei", r"avocat\b", r"abogado", r"avvocato",
    r"someone else (?:has )?(?:used|logged)", r"burn(?:t|ed|ing|s)\b", r"caught fire", r"injur",
    r"electric shock", r"gets? (?:very |too )?hot\b", r"brandgefahr", r"wird (?:\w+ )*heiß",
)  # fmt: skip
"""Law, fraud and danger: a person sees these first, however calmly they are written."""
_CALM = frozenset({"feedback", "automatic"})


def queue_of(category: str) -> str:
    return QUEUES.get(category, category)


def urgency(*, subject: str, text: str) -> str | None:
    """The words that make a ticket urgent, or None."""
    for part in (subject, text[:_WEIGHED_CHARS]):
        found = URGENT_WORDS.search(part) or ALWAYS_URGENT.search(part)
        if found:
            return found.group().lower()
    return None


def priority_of(category: str, urgent: str | None) -> Priority:
    if urgent:
        return Priority.URGENT
    return Priority.LOW if category in _CALM else Priority.NORMAL


def reference(source: str, ticket_id: str) -> str:
    """What the desk knows the ticket by: one word, whatever its source uses for ids."""
    word = f"{quote(source)}:{quote(ticket_id, safe=_KEPT_IN_IDS)}"
    if len(word) <= REF_CHARS:
        return word
    return f"{quote(source)[:40]}:sha256:{hashlib.sha256(word.encode()).hexdigest()}"
