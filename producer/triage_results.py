"""What became of each row of a backlog, read back from the runs, a page at a time."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any

from models.database import hot
from producer.backlog import Backlog, Row, Use
from producer.redacted import drafted, said
from producer.triage import Course, Mark, Outcome
from producer.triage_campaign import Campaign

_PAGE = 500

_RUNS = """
    SELECT k.key, run.id, run.status, run.waiting_for, run.stop_reason, run.detail, run.result,
           run.spent_usd, run.tokens, run.active_s, run.created_at, run.finished_at,
           r.id AS review, r.kind, r.question, r.proposal
      FROM unnest($2::text[]) AS asked(key)
      JOIN request_key k ON k.tenant = $1 AND k.key = asked.key
      JOIN run ON run.id = k.run_id
      LEFT JOIN LATERAL (
           SELECT id, kind, question, proposal FROM review
            WHERE review.run_id = run.id AND verdict IS NULL AND kind <> 'proposal'
            ORDER BY asked_at LIMIT 1) AS r ON true
"""

_RUN_IDS = "SELECT run_id FROM request_key WHERE tenant = $1 AND key = ANY($2::text[])"
_PURGED = """
    SELECT key, run_id AS id, 'finished' AS status, NULL AS waiting_for, stop_reason,
           'its payload was purged on ' || purged_at::date AS detail, NULL::json AS result,
           0::numeric AS spent_usd, 0 AS tokens, 0.0::float AS active_s, created_at, finished_at,
           NULL AS review, NULL AS kind, NULL AS question, NULL::json AS proposal
      FROM tombstone WHERE run_id = ANY($1::uuid[])
"""
"""A campaign older than the retention of payloads: only what became of each ticket is left."""


@dataclass(slots=True)
class Result:
    """A row and what became of it; of a ticket in review, what is proposed."""

    row: Row
    outcome: Outcome
    why: str = ""
    known_before: bool = False
    category: str = ""
    priority: str = ""
    queue: str = ""
    confidence: float | None = None
    decided_by: str = ""
    because: str = ""
    action: str = ""
    desk_url: str = ""
    reply: str = ""
    articles: list[dict[str, Any]] = field(default_factory=list)
    run_id: str = ""
    review_id: str = ""
    spent_usd: Decimal = Decimal(0)
    tokens: int = 0
    active_s: float = 0.0
    asked_at: datetime | None = None
    finished_at: datetime | None = None

    def record(self) -> dict[str, Any]:
        """For machines; its names are the columns of triage.csv too."""
        return {
            "row": self.row.row,
            "id": self.row.ticket.id,
            "outcome": str(self.outcome),
            "category": self.category,
            "priority": self.priority,
            "queue": self.queue,
            "confidence": self.confidence,
            "decided_by": self.decided_by,
            "action": self.action,
            "desk_url": self.desk_url,
            "reply": self.reply,
            "because": self.because,
            "why": self.why,
            "known_before": self.known_before,
            "run_id": self.run_id,
            "review_id": self.review_id,
            "subject": self.row.ticket.subject,
            "created_at": self.row.ticket.created_at,
        }


_UNUSED = {
    Use.BAD: Outcome.LEFT_OUT,
    Use.CLASH: Outcome.LEFT_OUT,
    Use.TWICE: Outcome.DUPLICATE,
}


async def results(campaign: Campaign, backlog: Backlog, course: Course) -> AsyncIterator[Result]:
    """Every row in the order of the file, with what is known of it now."""
    place = 0
    for page in _pages(backlog):
        keys = {campaign.key(row.ticket.id): row.ticket.id for row in page if row.use is Use.TICKET}
        found = await hot().fetch(_RUNS, campaign.tenant, list(keys))
        if len(found) < len(keys):
            ids = [row[0] for row in await hot().fetch(_RUN_IDS, campaign.tenant, list(keys))]
            found += await hot().fetch(_PURGED, ids)
        runs = {keys[each["key"]]: each for each in found}
        for row in page:
            if row.use is not Use.TICKET:
                yield Result(row, _UNUSED[row.use], why=row.why)
                continue
            yield _result(row, runs.get(row.ticket.id), course, place)
            place += 1


def _pages(rows: Iterable[Row]) -> Iterable[list[Row]]:
    rows = iter(rows)
    while page := list(islice(rows, _PAGE)):
        yield page


def _result(row: Row, run: Any, course: Course, place: int) -> Result:
    mark, note = Mark(course.marks[place]), course.notes.get(place, "")
    if mark is Mark.REFUSED:
        return Result(row, Outcome.REFUSED, why=note)
    if run is None:
        return Result(row, Outcome.HELD, why="not asked for yet: the triage was interrupted")
    found = Result(
        row,
        Outcome.HELD,
        known_before=mark in {Mark.KNOWN, Mark.CHANGED},
        run_id=str(run["id"]),
        review_id=str(run["review"] or ""),
        spent_usd=run["spent_usd"],
        tokens=run["tokens"],
        active_s=run["active_s"],
        asked_at=run["created_at"],
        finished_at=run["finished_at"],
    )
    _fill(found, drafted(run["result"] or run["proposal"]))
    outcome, why = _outcome(run)
    found.outcome, found.why = outcome, said(why) or ""
    if mark is Mark.CHANGED:
        found.outcome = Outcome.CHANGED
        found.why = f"triaged before with another {note or 'text'}; what stands here is that result"
    return found


def _fill(found: Result, told: Any) -> None:
    """From a result, or from what a review proposes; both name the same things alike."""
    if not isinstance(told, dict):
        return
    texts = (
        "category",
        "priority",
        "queue",
        "decided_by",
        "because",
        "action",
        "desk_url",
        "reply",
    )
    for name in texts:
        setattr(found, name, str(told.get(name) or ""))
    confidence = told.get("confidence")
    found.confidence = float(confidence) if isinstance(confidence, int | float) else None
    articles = told.get("articles")
    found.articles = [each for each in articles or [] if isinstance(each, dict)]


def _outcome(run: Any) -> tuple[Outcome, str]:
    reason, detail = run["stop_reason"], run["detail"] or ""
    if reason == "success":
        return Outcome.ANSWERED, detail
    if reason == "review_rejected":
        return Outcome.REJECTED, detail
    if reason is not None:
        return Outcome.FAILED, f"{reason}: {detail}" if detail else reason
    if run["status"] == "waiting" and run["waiting_for"] == "review":
        return Outcome.TO_REVIEW, run["question"] or detail
    if run["waiting_for"] == "gate":
        return Outcome.HELD, "safe mode is on; it goes on when the gate is opened"
    return Outcome.HELD, detail or "not finished yet"
