"""A campaign: one going-over of a backlog under a name, and the keys that make it once."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from models.request import Request
from producer.backlog import Ticket

PIPELINE, VERSION = "ticket-triage", 2
"""The oldest version that knows `autonomy`."""
_SUBJECT_BYTES = 200


class Autonomy(StrEnum):
    OBSERVE = "observe"  # nothing outside is written
    ACT = "act"  # tickets are opened at the desk


@dataclass(frozen=True)
class Campaign:
    """One going-over of a backlog; a second one of the same name finds its runs again."""

    name: str
    tenant: str
    autonomy: Autonomy
    again: str | None = None
    """The name of a further going-over of the same campaign."""
    source: str = "backlog"
    model: str | None = None

    @property
    def told(self) -> str:
        return f"{self.name}, again as {self.again}" if self.again else self.name

    def key(self, ticket_id: str) -> str:
        """Stable over files, restarts and machines, and of one length whatever the id."""
        told = [
            self.name,
            PIPELINE,
            self.autonomy,
            ticket_id,
            *([self.again] if self.again else []),
        ]
        return f"triage:{hashlib.sha256(orjson.dumps(told)).hexdigest()}"

    def request(self, ticket: Ticket) -> Request:
        given: dict[str, Any] = {
            "id": ticket.id,
            "source": self.source,
            "subject": ticket.subject,
            "text": ticket.text,
            "autonomy": str(self.autonomy),
        }
        given |= {"created_at": ticket.created_at} if ticket.created_at else {}
        given |= {"model": self.model} if self.model else {}
        return Request(
            tenant=self.tenant,
            key=self.key(ticket.id),
            pipeline=PIPELINE,
            input=given,
            subject=self._subject(ticket.id),
        )

    def _subject(self, ticket_id: str) -> str | None:
        """Two runs that may write one ticket go one after the other; a look disturbs nobody."""
        if self.autonomy is Autonomy.OBSERVE:
            return None
        subject = f"ticket:{self.source}:{ticket_id}"
        if len(subject.encode()) <= _SUBJECT_BYTES:
            return subject
        return f"ticket:sha256:{hashlib.sha256(subject.encode()).hexdigest()}"
