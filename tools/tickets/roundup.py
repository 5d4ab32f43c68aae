"""A Roundup tracker as the desk, over its REST interface.

Its issues need two more fields: `category`, and `external_ref` as the class's key. The key makes
Roundup refuse a second issue for one reference, whoever asks; stock Roundup would open it.
An issue that a person has retired there frees its reference again.
"""

from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from config.settings import DeskSettings
from models.run import StopReason
from tools.http import Reply, Wire
from tools.tickets.form import NewTicket, Priority, Ticket, TicketRef, one_line
from tools.tool import Ambiguous, Call, Lookup, Rejected, Sighting, ToolError

ISSUES = "rest/data/issue"
TITLE_CHARACTERS = 250

PRIORITIES = {
    Priority.URGENT: "critical",
    Priority.HIGH: "urgent",
    Priority.NORMAL: "bug",
    Priority.LOW: "wish",
}
"""Roundup's classic list, from the top. `feature` says what a ticket is, not how urgent."""


class Roundup:
    """One tracker, as one user."""

    def __init__(self, desk: DeskSettings, wire: Wire | None = None) -> None:
        """`wire`: an operator's connection, which stands in place of the settings."""
        if wire is None:
            if desk.url is None:
                raise ValueError("desk.url is not set: there is no Roundup to talk to")
            wire = Wire(str(desk.url), login=(desk.user, desk.password))
        self._base = wire.base
        # Without these three Roundup takes the request for one that a foreign web page has made.
        self._wire = wire.adding(
            {
                "X-Requested-With": "rest",
                "Origin": str(self._base.origin()),
                "Referer": str(self._base).rstrip("/") + "/",
            }
        )

    async def create(self, args: NewTicket, call: Call) -> TicketRef:
        """Open the ticket, or find the one that is there for this reference; one write, no more.

        The text goes into the title, for a message of its own would be a second write.
        """
        reply = await self._wire.send(
            "POST",
            ISSUES,
            call=call,
            writes=True,
            json={
                "title": headline(args),
                "priority": PRIORITIES[args.priority],
                "external_ref": args.external_ref,
                # Roundup takes an empty string for none, and answers 409 to it.
                **({"category": args.category} if args.category else {}),
            },
        )
        if reply.status == HTTPStatus.CONFLICT:
            return await self._there_already(args, call, reply)
        try:
            opened = _Opened.model_validate(reply.body)
        except ValidationError:
            raise Ambiguous(
                "Roundup said that it has opened a ticket, but not which one.",
                reason=StopReason.TOOL_OUTPUT_INVALID,
            ) from None
        return self._ref(opened.data.id, args.external_ref, created=True)

    async def lookup(self, args: NewTicket, call: Call) -> Sighting[TicketRef]:
        """Whether the ticket is there; unknown when Roundup gives no usable answer."""
        try:
            issue = await self._find(args.external_ref, call)
        except ToolError:
            return Sighting(Lookup.UNKNOWN)
        if issue is None:
            return Sighting(Lookup.ABSENT)
        return Sighting(Lookup.FOUND, self._ref(issue.id, args.external_ref, created=False))

    async def read(self, external_ref: str, call: Call) -> Ticket | None:
        issue = await self._find(external_ref, call)
        if issue is None:
            return None
        theirs = {name: ours for ours, name in PRIORITIES.items()}
        return Ticket(
            id=issue.id,
            url=self._url(issue.id),
            external_ref=external_ref,
            title=issue.title or "",
            category=issue.category or "",
            priority=theirs.get(issue.priority or ""),
        )

    async def _there_already(self, args: NewTicket, call: Call, reply: Reply) -> TicketRef:
        """A 409 is about our reference, or about anything else that Roundup dislikes."""
        said = _said(reply.body)
        if said != f'node with key "{args.external_ref}" exists':
            told = self._wire.excerpt(said)
            raise Rejected(f"Roundup answered 409 to a new ticket: {told}.")
        issue = await self._find(args.external_ref, call)
        if issue is None:
            raise Rejected(
                "Roundup has a ticket with this external_ref, but does not show it to our user:"
                " let that user view all issues."
            )
        return self._ref(issue.id, args.external_ref, created=False)

    async def _find(self, external_ref: str, call: Call) -> "_Issue | None":
        """The colon asks for an exact match; a plain filter finds parts of words, in any case.

        Raises:
            ToolError: Roundup did not say, or says what cannot be read.
        """
        reply = await self._wire.send(
            "GET",
            ISSUES,
            call=call,
            writes=False,
            query={
                "external_ref:": external_ref,
                "@fields": "external_ref,title,category,priority.name",
            },
        )
        listed = _parsed(_Listed, reply.body)
        return next((i for i in listed.data.collection if i.external_ref == external_ref), None)

    def _ref(self, issue_id: str, external_ref: str, *, created: bool) -> TicketRef:
        return TicketRef(
            id=issue_id, url=self._url(issue_id), external_ref=external_ref, created=created
        )

    def _url(self, issue_id: str) -> str:
        """The page for people, by the address that we were given, not by one that came back."""
        return str(self._base / f"issue{issue_id}")


def headline(args: NewTicket) -> str:
    """`[queue] title: body` on one line, cut to fit; a body that begins as the title is both."""
    body = one_line(args.body)
    text = body if body.startswith(args.title) else f"{args.title}: {body}".rstrip(": ")
    text = f"[{args.queue}] {text}" if args.queue else text
    return text if len(text) <= TITLE_CHARACTERS else f"{text[: TITLE_CHARACTERS - 1]}…"


# The parts of Roundup's answers that we use.


class _Id(BaseModel):
    id: str = Field(pattern=r"^\d+$")


class _Opened(BaseModel):
    data: _Id


class _Issue(_Id):
    external_ref: str | None = None
    title: str | None = None
    category: str | None = None
    priority: str | None = Field(default=None, alias="priority.name")


class _Page(BaseModel):
    collection: list[_Issue]


class _Listed(BaseModel):
    data: _Page


M = TypeVar("M", bound=BaseModel)


def _parsed(model: type[M], body: Any) -> M:
    try:
        return model.model_validate(body)
    except ValidationError:
        raise Rejected(
            "Roundup answered a search with something else than a list of issues.",
            reason=StopReason.TOOL_OUTPUT_INVALID,
        ) from None  # it quotes what came, which may be parts of our login


def _said(body: Any) -> str:
    """The sentence in Roundup's error, on one line."""
    error = body.get("error") if isinstance(body, dict) else None
    said = error.get("msg") if isinstance(error, dict) else None
    return one_line(str(said or "no reason given"))
