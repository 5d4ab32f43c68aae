"""A review: a question to a person, and the verdict."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import jsonschema_rs
import orjson
from sqlalchemy import Index, Text, text
from sqlmodel import Field, SQLModel

from models.columns import document, when, word
from models.database import hot
from models.ledger import EntryState
from models.run import StopReason


class ReviewKind(StrEnum):
    UNCERTAIN = "uncertain"  # the pipeline is not sure enough
    IN_DOUBT = "in_doubt"  # a write may or may not have happened


class Verdict(StrEnum):
    APPROVED = "approved"
    EDITED = "edited"
    REJECTED = "rejected"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"  # its run is over: nobody needs an answer


class DoubtVerdict(StrEnum):
    """What a person says of a write in doubt, and of nothing else."""

    HAPPENED = "happened"  # with this result: the run goes on with it
    DID_NOT_HAPPEN = "did_not_happen"  # it may be sent again
    ABANDONED = "abandoned"  # whatever happened: the step has failed, and is never sent again

    @property
    def verdict(self) -> Verdict:
        """As it is kept."""
        return _OF_DOUBT[self]


_OF_DOUBT = {
    DoubtVerdict.HAPPENED: Verdict.EDITED,
    DoubtVerdict.DID_NOT_HAPPEN: Verdict.APPROVED,
    DoubtVerdict.ABANDONED: Verdict.REJECTED,
}


class Review(SQLModel, table=True):
    """Open until a verdict or `decide_by`, whichever is first; nothing is decided twice."""

    id: UUID = Field(primary_key=True)
    run_id: UUID
    step: str = Field(sa_type=Text)
    tenant: str = Field(sa_type=Text)
    kind: ReviewKind = Field(sa_type=word(ReviewKind))
    question: str = Field(sa_type=Text)
    proposal: Any = document()
    """What the run will go on with when it is approved."""
    answer_schema: Any = document()
    """What an edited answer must look like (JSON Schema)."""
    verdict: Verdict | None = Field(default=None, sa_type=word(Verdict))
    answer: Any = document()
    note: str | None = Field(default=None, sa_type=Text)
    who: str | None = Field(default=None, sa_type=Text)
    asked_at: datetime | None = when(nullable=False, default="now()")
    decide_by: datetime | None = when()
    decided_at: datetime | None = when()

    __table_args__ = (
        Index("review_of_step", "run_id", "step", unique=True),
        Index("review_open", "decide_by", postgresql_where=text("verdict IS NULL")),
    )


class NotOpen(Exception):
    """The review was answered before, has expired, or never was."""


class BadAnswer(Exception):
    """The edited answer is not what the run can go on with."""


_TAKE = """
    UPDATE review
       SET verdict = $2, answer = $3, note = $4, who = $5, decided_at = now()
     WHERE id = $1 AND verdict IS NULL AND (decide_by IS NULL OR decide_by > now())
 RETURNING run_id, step, kind, proposal
"""
"""Two people answering at once meet on the row; the second finds a verdict, and nothing to do."""

_LOCK_RUN = """
    SELECT FROM run WHERE id = (SELECT run_id FROM review WHERE id = $1) FOR NO KEY UPDATE
"""
"""First of all, like everybody who touches a run's steps and reviews: no two can deadlock."""

_CLOSE_STEP = """
    WITH open AS (
        SELECT run_id, step, reserved_usd FROM ledger_entry
         WHERE run_id = $1 AND step = $2 AND state IN ('reserved', 'in_doubt') FOR UPDATE),
    closed AS (
        UPDATE ledger_entry e
           SET state = $3, result = $4, error = $5, settled_at = now(), reserved_usd = 0,
               spent_usd = e.spent_usd + open.reserved_usd
          FROM open WHERE (e.run_id, e.step) = (open.run_id, open.step))
    UPDATE run
       SET reserved_usd = run.reserved_usd - open.reserved_usd,
           spent_usd = run.spent_usd + open.reserved_usd
      FROM open WHERE run.id = open.run_id
"""
"""What a doubtful call had reserved is charged: it may have been spent."""

_RELEASE_STEP = """
    WITH open AS (
        SELECT run_id, step, reserved_usd FROM ledger_entry
         WHERE run_id = $1 AND step = $2 AND state = 'in_doubt' FOR UPDATE),
    released AS (
        UPDATE ledger_entry e SET state = 'released', reserved_usd = 0
          FROM open WHERE (e.run_id, e.step) = (open.run_id, open.step))
    UPDATE run SET reserved_usd = run.reserved_usd - open.reserved_usd
      FROM open WHERE run.id = open.run_id
"""

GO_ON = """
    UPDATE run
       SET status = 'queued', waiting_for = NULL, dispatch_at = now(), detail = NULL
     WHERE id = $1 AND status = 'waiting' AND waiting_for = 'review'
       AND NOT EXISTS (SELECT FROM review
                        WHERE review.run_id = run.id AND verdict IS NULL AND review.id <> $2)
"""
"""A run that asked several questions goes on when the last one is answered."""

_LATE = """
    SELECT id FROM review WHERE verdict IS NULL AND decide_by <= now() ORDER BY id LIMIT 200
"""

_EXPIRE = """
    UPDATE review SET verdict = 'expired', decided_at = now()
     WHERE id = $1 AND verdict IS NULL AND decide_by <= now()
 RETURNING run_id, step, kind, proposal
"""


async def answer(
    review: UUID,
    said: Verdict | DoubtVerdict,
    *,
    who: str,
    value: Any = None,
    note: str | None = None,
) -> UUID:
    """Give a verdict, settle the step it is about, and let the run go on; return the run's id.

    Of a review in doubt, EDITED says that it happened, with `value` as its result; APPROVED,
    that it did not and may be sent again; REJECTED gives up. DoubtVerdict says so in its words.

    Raises:
        NotOpen: Somebody else answered, or it has expired.
        BadAnswer: `value` does not fit the review's answer_schema, or a verdict on a doubt was
            given where there is none; nothing was changed.
    """
    verdict = said.verdict if isinstance(said, DoubtVerdict) else said
    async with hot().acquire() as connection, connection.transaction():
        if verdict is Verdict.EDITED:
            schema = await connection.fetchval(
                "SELECT answer_schema FROM review WHERE id = $1", review
            )
            _check(value, schema)
        written = orjson.dumps(value) if verdict is Verdict.EDITED else None
        await connection.execute(_LOCK_RUN, review)
        row = await connection.fetchrow(_TAKE, review, verdict, written, note, who)
        if row is None:
            raise NotOpen(f"review {review} is not open: answered already, expired, or unknown")
        if isinstance(said, DoubtVerdict) and row["kind"] != ReviewKind.IN_DOUBT:
            raise BadAnswer(
                f"{said} is said of a write in doubt; this is a question of another kind"
            )
        await _settle(connection, row, verdict, written, note)
        await connection.execute(GO_ON, row["run_id"], review)
    run_id: UUID = row["run_id"]
    return run_id


async def expire() -> int:
    """Deny what nobody answered in time; return how many reviews that were."""
    late = [row[0] for row in await hot().fetch(_LATE)]
    for review in late:
        async with hot().acquire() as connection, connection.transaction():
            await connection.execute(_LOCK_RUN, review)
            row = await connection.fetchrow(_EXPIRE, review)
            if row is not None:
                await _settle(connection, row, Verdict.EXPIRED, None, None)
                await connection.execute(GO_ON, row["run_id"], review)
    return len(late)


async def _settle(
    connection: Any, row: Any, verdict: Verdict, written: bytes | None, note: str | None
) -> None:
    doubtful = row["kind"] == ReviewKind.IN_DOUBT
    place = (row["run_id"], row["step"])
    if doubtful and verdict is Verdict.APPROVED:
        await connection.execute(_RELEASE_STEP, *place)
        return
    if verdict in {Verdict.APPROVED, Verdict.EDITED}:
        result = row["proposal"] if verdict is Verdict.APPROVED else written
        await connection.execute(_CLOSE_STEP, *place, EntryState.SETTLED, result, None)
        return
    reason = {Verdict.REJECTED: StopReason.REVIEW_REJECTED}.get(verdict, StopReason.REVIEW_EXPIRED)
    if doubtful:
        reason = StopReason.IN_DOUBT
    told = {"reason": reason, "message": note or f"a person's verdict: {verdict}"}
    await connection.execute(_CLOSE_STEP, *place, EntryState.REJECTED, None, orjson.dumps(told))


def _check(value: Any, schema: bytes | None) -> None:
    if schema is None:
        return
    for fault in jsonschema_rs.validator_for(orjson.loads(schema)).iter_errors(value):
        pointer = "".join(f"/{part}" for part in fault.instance_path) or "/"
        raise BadAnswer(f"{pointer}: {fault.message}")
