"""The ledger: each step's intent, cost and outcome in one row. A settled row is the checkpoint."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Index, Text, text
from sqlmodel import Field, SQLModel

from models.columns import document, usd, when, word

UNDO = "undo/"
"""Before the name of a step: the name of the step that takes it back."""
SNAPSHOT = "/snapshot"
"""After the name of a step: the name of the step that comes before its write."""


class EntryState(StrEnum):
    """How far a step has come."""

    RESERVED = "reserved"  # intent committed: it may have been sent  -> settled, released, ...
    RELEASED = "released"  # surely not sent: money given back  -> reserved
    SETTLED = "settled"  # its result is the step's result, for ever
    REJECTED = "rejected"  # its failure is the step's result, for ever
    IN_DOUBT = "in_doubt"  # a person decides whether it happened  -> settled, released
    UNDONE = "undone"  # settled, and taken back by a later step


class StepKind(StrEnum):
    CALL = "call"
    DECIDE = "decide"
    ASK = "ask"
    REMEMBER = "remember"
    RECALL = "recall"
    PROPOSE = "propose"  # a call that was put to a person instead of being made


class LedgerEntry(SQLModel, table=True):
    """`args` are whole, readable to workers alone; what people see is a redacted view.

    No foreign key: the fence that every insert joins has locked the run already, and the
    check would cost as much as the insert.
    """

    __tablename__ = "ledger_entry"

    run_id: UUID = Field(primary_key=True)
    step: str = Field(primary_key=True, sa_type=Text)
    number: int
    """In which order the run came to its steps; for people."""
    kind: StepKind = Field(sa_type=word(StepKind))
    tool: str | None = Field(default=None, sa_type=Text)
    effect: str | None = Field(default=None, sa_type=Text)
    args: Any = document()
    args_hash: bytes
    state: EntryState = Field(sa_type=word(EntryState))
    attempt: int
    tries: int = 1
    token: UUID
    """Of the latest try: a repeated flush knows its own row by it, a late one is refused."""
    reserved_usd: Decimal = usd()
    spent_usd: Decimal = usd()
    spend_day: date | None = None
    """The day in whose windows the reservation stands."""
    tokens: int = 0
    result: Any = document()
    error: Any = document()
    labels: Any = document()
    """Where its arguments come from, by JSON pointer; see worker/labels/label.py."""
    policy: str | None = Field(default=None, sa_type=Text)
    """The revision of the policy that judged it."""
    send_before: datetime | None = when()
    """A write's request may start to leave until then."""
    quiet_at: datetime | None = when()
    """From then on it can no longer be under way: nobody is asked about it sooner."""
    created_at: datetime | None = when(nullable=False, default="now()")
    settled_at: datetime | None = when()
    copied_from: UUID | None = None
    """The run that did it; this one is a fork of that and only replays it."""

    __table_args__ = (
        Index("ledger_in_doubt", "run_id", postgresql_where=text("state = 'in_doubt'")),
        # What a shut gate asks for: see models/standstill.py.
        Index(
            "ledger_unanswered",
            "run_id",
            postgresql_where=text("state IN ('reserved', 'in_doubt')"),
        ),
        Index("ledger_tried_again", "quiet_at", postgresql_where=text("tries > 1")),
    )
