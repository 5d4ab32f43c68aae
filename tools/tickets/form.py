"""What is filled in to open a ticket, and what comes back from a desk."""

import unicodedata
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from tools.tool import Contract


class Priority(StrEnum):
    URGENT = "urgent"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


def plain(text: str, *, keeps: str = "") -> str:
    """Drop what does not print, and turn other control characters and spaces into a space."""
    return "".join(
        c
        if c in keeps or c.isprintable()
        else " " * (unicodedata.category(c) in {"Cc", "Zs", "Zl", "Zp"})
        for c in text
    )


def one_line(text: str) -> str:
    """The same words on one line, which no desk can take for a header or a second field."""
    return " ".join(plain(text).split())


def _line(value: Any) -> Any:
    return one_line(value) if isinstance(value, str) else value


def _text(value: Any) -> Any:
    return plain(value, keeps="\n\t").strip() if isinstance(value, str) else value


def _has_no_gap(value: str) -> str:
    if not value.isprintable() or " " in value:
        raise ValueError("must be one printable word: desks trim and fold what stands around it")
    return value


Ref = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_has_no_gap)]
"""`source:ticket id`: chosen by the pipeline from its request, never from a key or a run."""


class NewTicket(Contract):
    """A ticket to open. The desk has at most one for each `external_ref`, whoever asks again."""

    external_ref: Ref
    title: Annotated[str, BeforeValidator(_line), Field(min_length=1, max_length=200)]
    """Never empty: Roundup would take a ticket without a title, and nobody would find it."""
    body: Annotated[str, BeforeValidator(_text), Field(max_length=20_000)] = ""
    category: Annotated[str, BeforeValidator(_line), Field(max_length=80)] = ""
    queue: Annotated[str, BeforeValidator(_line), Field(max_length=80)] = ""
    priority: Priority = Priority.NORMAL


class TicketRef(Contract):
    """Where a ticket is."""

    id: str
    url: str
    external_ref: str
    created: bool
    """False when it was there already."""


class TicketQuery(Contract):
    external_ref: Ref


class Ticket(Contract):
    """A ticket as its desk has it, which may shorten or join what was filled in."""

    id: str
    url: str
    external_ref: str
    title: str
    category: str
    priority: Priority | None
    """None when the desk has it at a priority that is none of ours."""


class TicketFound(Contract):
    ticket: Ticket | None
    """None when the desk has no ticket for this reference."""
