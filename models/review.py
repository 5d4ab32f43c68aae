"""A review: a question to a person, and what may be said to it."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Index, Text, text
from sqlmodel import Field, SQLModel

from models.columns import document, when, word


class ReviewKind(StrEnum):
    UNCERTAIN = "uncertain"  # the pipeline is not sure enough
    IN_DOUBT = "in_doubt"  # a write may or may not have happened
    APPROVAL = "approval"  # a call that a person must allow, with exactly these arguments
    PROPOSAL = "proposal"  # a call that its run does not make: approved, it becomes a new request
    GAP = "gap"  # something that the run needs to know and could not find out


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
    args_hash: bytes | None = None
    """An approval's or a proposal's: of tool and whole arguments, defaults included; where a person
    has edited them, of the bytes of `answer`."""
    use_by: datetime | None = when()
    """Until then an approval may be used,"""
    used_at: datetime | None = when()
    """and when it was, first."""
    used_by: UUID | None = None
    """A proposal's: the run that carries it out. No other may."""

    __table_args__ = (
        Index("review_of_step", "run_id", "step", "kind", unique=True),
        Index("review_open", "decide_by", postgresql_where=text("verdict IS NULL")),
    )
