"""The local desk: tickets in our own PostgreSQL, for who has no ticket system at hand."""

from datetime import datetime
from time import monotonic
from uuid import UUID

import asyncpg
from sqlalchemy import BigInteger, Column, Identity, Integer, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from models.columns import when, word
from models.database import hot
from models.run import StopReason
from tools.tickets.form import NewTicket, Priority, Ticket, TicketRef
from tools.tool import Ambiguous, Call, Lookup, Rejected, Sighting, ToolError, Unavailable


class DeskTicket(SQLModel, table=True):
    """One row for each tenant's `external_ref`; `writes` shows one touched more than once."""

    __tablename__ = "desk_ticket"

    id: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True)
    )
    external_ref: str = Field(sa_type=Text)
    title: str = Field(sa_type=Text)
    body: str = Field(sa_type=Text)
    category: str = Field(sa_type=Text)
    queue: str = Field(sa_type=Text)
    priority: Priority = Field(sa_type=word(Priority))
    tenant: str = Field(sa_type=Text)
    run_id: UUID
    """Of the run that opened it."""
    writes: int = Field(default=1, sa_type=Integer, sa_column_kwargs={"server_default": "1"})
    """How many writes have arrived for this reference."""
    created_at: datetime | None = when(nullable=False, default="now()")

    __table_args__ = (UniqueConstraint("tenant", "external_ref"),)


# Two writers with one reference meet on its row: the second waits for the first to commit, then
# counts. `xmax` is 0 only on a row that this statement has inserted.
_CREATE = """
    INSERT INTO desk_ticket
           (external_ref, title, body, category, queue, priority, tenant, run_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (tenant, external_ref) DO UPDATE
       SET writes = desk_ticket.writes + 1
 RETURNING id, (xmax = 0) AS created
"""

_FIND = """
    SELECT id, title, category, priority
      FROM desk_ticket
     WHERE tenant = $1 AND external_ref = $2
"""

_LOST = (
    OSError,  # TimeoutError too
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
"""The connection ended under a statement: it may have been committed before."""

_LATER = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.InsufficientResourcesError,
    asyncpg.CannotConnectNowError,
    asyncpg.ReadOnlySQLTransactionError,  # a primary that has just become a replica
)
"""PostgreSQL has undone the statement, and may do it another time."""


class LocalDesk:
    """The same verbs as a real ticket system, one statement each."""

    async def create(self, args: NewTicket, call: Call) -> TicketRef:
        row = await _row(
            _CREATE,
            args.external_ref,
            args.title,
            args.body,
            args.category,
            args.queue,
            args.priority.value,
            call.tenant,
            call.run_id,
            call=call,
            writes=True,
        )
        if row is None:
            raise Ambiguous("The local desk took a ticket, but did not say which one it is.")
        return _ref(row, args.external_ref, created=row["created"])

    async def lookup(self, args: NewTicket, call: Call) -> Sighting[TicketRef]:
        try:
            row = await _row(_FIND, call.tenant, args.external_ref, call=call, writes=False)
        except ToolError:
            return Sighting(Lookup.UNKNOWN)
        if row is None:
            return Sighting(Lookup.ABSENT)
        return Sighting(Lookup.FOUND, _ref(row, args.external_ref, created=False))

    async def read(self, external_ref: str, call: Call) -> Ticket | None:
        row = await _row(_FIND, call.tenant, external_ref, call=call, writes=False)
        if row is None:
            return None
        return Ticket(
            id=str(row["id"]),
            url=_url(row),
            external_ref=external_ref,
            title=row["title"],
            category=row["category"],
            priority=Priority(row["priority"]),
        )


async def _row(
    statement: str, *values: object, call: Call, writes: bool
) -> "asyncpg.Record | None":
    """Run one statement within the call's clocks; it commits by itself.

    Raises:
        ToolError: Ambiguous only for a write that was sent and may have been committed.
    """
    until = min(call.deadline, call.send_before) if writes else call.deadline
    sent = False
    try:
        async with hot().acquire(timeout=until - monotonic()) as connection:
            if monotonic() >= until:
                raise Unavailable(
                    "The local desk was not asked: the time in which that may begin had passed.",
                    reason=StopReason.TOOL_TIMEOUT,
                )
            sent = True
            return await connection.fetchrow(
                statement, *values, timeout=call.deadline - monotonic()
            )
    except _LOST as error:
        late = isinstance(error, TimeoutError)
        reason = StopReason.TOOL_TIMEOUT if late else StopReason.TOOL_FAILED
        doubtful = Ambiguous if sent and writes else Unavailable
        raise doubtful(f"The local desk did not answer: {_said(error)}.", reason=reason) from error
    except _LATER as error:
        raise Unavailable(f"The local desk is busy: {_said(error)}.") from error
    except asyncpg.PostgresError as error:
        raise Rejected(f"The local desk refused: {_said(error)}.") from error


def _said(error: Exception) -> str:
    return type(error).__name__


def _ref(row: "asyncpg.Record", external_ref: str, *, created: bool) -> TicketRef:
    return TicketRef(id=str(row["id"]), url=_url(row), external_ref=external_ref, created=created)


def _url(row: "asyncpg.Record") -> str:
    return f"desk:{row['id']}"
