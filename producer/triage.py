"""Triage of a backlog: every ticket one request, every request one run, with live counts."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from uuid import UUID

from config.bell import Bell
from models.admission import Admission
from models.database import hot
from models.request import KeyReused, Refused
from producer.backlog import Backlog, Ticket
from producer.triage_campaign import Campaign

_AT_ONCE = 512
_LOOK_S = 0.2
_LOOKED_AT = 2_000


class Outcome(StrEnum):
    """What became of a row."""

    ANSWERED = "answered"
    TO_REVIEW = "to_review"  # a person is asked; the run waits
    REJECTED = "rejected"  # a person said no
    FAILED = "failed"
    HELD = "held"  # unfinished: safe mode, or another run on this ticket waits
    CHANGED = "changed"  # triaged before with another text, and left alone
    REFUSED = "refused"  # admission did not take it
    LEFT_OUT = "left_out"  # the row cannot be used
    DUPLICATE = "duplicate"  # an earlier row says the same


class Mark(IntEnum):
    """How a ticket was taken in; one byte of each stays in memory."""

    NOT_ASKED = 0
    NEW = 1
    KNOWN = 2
    CHANGED = 3
    REFUSED = 4


@dataclass
class Course:
    """How far a campaign has come; one byte and one run id are kept of each ticket."""

    total: int
    marks: bytearray = field(init=False)
    notes: dict[int, str] = field(default_factory=dict)
    """Why a ticket was refused, or what has changed, by its place."""
    open: list[UUID] = field(default_factory=list)
    """Runs that are not known to be at an end, in the order they were asked for."""
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    known: int = 0
    asked: bool = False
    """Every ticket has been asked for."""
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.marks = bytearray(self.total)

    @property
    def settled(self) -> int:
        return self.outcomes.total()


async def submit(campaign: Campaign, backlog: Backlog, course: Course, bell: Bell) -> None:
    """Ask for a run of every ticket; what was asked before is found, not asked again."""
    admission = Admission(patience_s=60)
    free = asyncio.Semaphore(_AT_ONCE)

    async def one(place: int, ticket: Ticket) -> None:
        try:
            receipt = await admission(campaign.request(ticket))
        except KeyReused as reused:
            course.marks[place] = Mark.CHANGED
            course.notes[place] = reused.detail.rpartition("what differs: ")[2].replace(
                "input.", ""
            )
            course.outcomes[Outcome.CHANGED] += 1
        except Refused as refused:
            course.marks[place] = Mark.REFUSED
            course.notes[place] = refused.detail
            course.outcomes[Outcome.REFUSED] += 1
        else:
            course.marks[place] = Mark.KNOWN if receipt.replayed else Mark.NEW
            course.known += receipt.replayed
            course.open.append(receipt.run_id)
            bell.ring()
        finally:
            free.release()

    async with asyncio.TaskGroup() as group:
        for place, ticket in enumerate(backlog.tickets()):
            await free.acquire()
            group.create_task(one(place, ticket))
    course.asked = True


_SETTLED = """
    SELECT run.id,
           CASE WHEN stop_reason = 'success'         THEN 'answered'
                WHEN stop_reason = 'review_rejected' THEN 'rejected'
                WHEN status = 'finished'             THEN 'failed'
                WHEN waiting_for = 'review'          THEN 'to_review'
                ELSE 'held' END AS outcome
      FROM unnest($1::uuid[]) AS asked(id) JOIN run USING (id)
     WHERE status IN ('finished', 'waiting')
        OR (status = 'queued' AND subject IS NOT NULL AND EXISTS (
               SELECT FROM run o
                WHERE o.tenant = run.tenant AND o.subject = run.subject
                  AND o.status = 'waiting' AND o.id <> run.id))
     UNION ALL
    SELECT t.run_id, CASE stop_reason WHEN 'success' THEN 'answered' ELSE 'failed' END
      FROM unnest($1::uuid[]) AS asked(id) JOIN tombstone t ON t.run_id = asked.id
"""
"""What no worker will move on: it is over, or stands until a person or the gate lets it go on."""


async def look(course: Course, width: int) -> int:
    """Count the runs among the oldest `width` open ones that came to an end or a stand."""
    window = course.open[:width]
    rows = await hot().fetch(_SETTLED, window)
    settled = {row["id"]: Outcome(row["outcome"]) for row in rows}
    course.outcomes.update(settled.values())
    # Only what was looked at: meanwhile others were asked for and stand behind them.
    course.open[: len(window)] = [each for each in window if each not in settled]
    return len(settled)


async def follow(
    course: Course, show: Callable[[Course], None], check: Callable[[], Awaitable[None]]
) -> None:
    """Watch until every run is at an end or a stand; `check` may raise when nobody works on them.

    Runs go about in the order they were asked for, so the oldest open ones are looked at, and
    twice as many while nothing comes of it.
    """
    width = _LOOKED_AT
    while True:
        found = await look(course, width)
        width = _LOOKED_AT if found else min(2 * width, _LOOKED_AT + len(course.open))
        course.seconds = time.monotonic() - course.started
        show(course)
        if course.asked and not course.open:
            return
        if found * 2 < width:
            await check()
            await asyncio.sleep(_LOOK_S)


async def carry_out(
    campaign: Campaign,
    backlog: Backlog,
    course: Course,
    bell: Bell,
    *,
    show: Callable[[Course], None],
    check: Callable[[], Awaitable[None]],
) -> None:
    """Ask and watch at the same time.

    Raises:
        DatabaseAway: PostgreSQL has not answered for a minute.
    """
    course.started = time.monotonic()
    asking = asyncio.create_task(submit(campaign, backlog, course, bell))
    watching = asyncio.create_task(follow(course, show, check))
    try:
        done, _ = await asyncio.wait([asking, watching], return_when=asyncio.FIRST_EXCEPTION)
        for each in done:
            each.result()
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    finally:
        for each in (asking, watching):
            each.cancel()
        await asyncio.gather(asking, watching, return_exceptions=True)
