"""The ticket tools: one desk behind them for each tenant.

A Roundup where an operator has named a connection `tickets`, else where the settings have its URL,
else the local desk.
"""

from typing import Protocol

from config.settings import DAY_S, settings
from tools import connection
from tools.tickets.desk import LocalDesk
from tools.tickets.form import NewTicket, Ticket, TicketFound, TicketQuery, TicketRef
from tools.tickets.roundup import Roundup
from tools.tool import Call, Effect, Sighting, tool
from tools.trust import Trust

CONNECTION = "tickets"
SINKS = {
    "/external_ref": Trust.TRUSTED,
    "/title": Trust.UNTRUSTED,
    "/body": Trust.UNTRUSTED,
    "/category": Trust.ENDORSED,
    "/queue": Trust.ENDORSED,
    "/priority": Trust.ENDORSED,
}
"""Text from outside may be read at the desk, and choose among the pipeline's queues; which ticket
it is about it may not."""
KEPT_FOR_S = 10 * 365 * DAY_S
"""A desk knows a reference as long as it has the ticket, whatever key asks for it."""


class Desk(Protocol):
    """What a ticket system must offer to be a target of ours."""

    async def create(self, args: NewTicket, call: Call) -> TicketRef: ...

    async def lookup(self, args: NewTicket, call: Call) -> Sighting[TicketRef]: ...

    async def read(self, external_ref: str, call: Call) -> Ticket | None: ...


async def _desk(call: Call) -> Desk:
    desk = settings().desk
    wire = await connection.wire(call, CONNECTION)
    return LocalDesk() if wire is None and desk.url is None else Roundup(desk, wire)


async def _lookup(args: NewTicket, call: Call) -> Sighting[TicketRef]:
    return await (await _desk(call)).lookup(args, call)


@tool(
    "ticket.create",
    effect=Effect.WRITE,
    timeout_s=15,
    key_kept_for_s=KEPT_FOR_S,
    lookup=_lookup,
    sinks=SINKS,
    trusted=("/id", "/url", "/external_ref", "/created"),
)
async def create(args: NewTicket, call: Call) -> TicketRef:
    """Open a ticket; a second write for its `external_ref` gets the first one back."""
    return await (await _desk(call)).create(args, call)


@tool("ticket.read", effect=Effect.READ, timeout_s=15)
async def read(args: TicketQuery, call: Call) -> TicketFound:
    """Find a ticket by its `external_ref`."""
    return TicketFound(ticket=await (await _desk(call)).read(args.external_ref, call))
