"""A refusal: a submission that was not accepted, kept so that a client can ask why."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, Text
from sqlmodel import Field, SQLModel

from models.columns import when
from models.database import hot

UNREADABLE = "?"
"""The tenant and key of a submission that could not be read that far."""
_KEPT_CHARS = 500
"""Of a key that is longer than keys may be; an index entry has its limit."""


class Refusal(SQLModel, table=True):
    id: UUID = Field(primary_key=True)
    tenant: str = Field(sa_type=Text)
    key: str = Field(sa_type=Text)
    code: str = Field(sa_type=Text)
    detail: str = Field(sa_type=Text)
    refused_at: datetime | None = when(nullable=False, default="now()")

    __table_args__ = (
        Index("refusal_of_key", "tenant", "key", "refused_at"),
        Index("refusal_age", "refused_at"),
    )


def plain(text: str) -> str:
    """Fit for a text column: no NUL, no half surrogate."""
    return text.replace("\x00", "").encode(errors="replace").decode()


def shown(value: Any) -> str:
    """A tenant or key as a refusal keeps it, and by which it is looked up; it may be anything."""
    return plain(value)[:_KEPT_CHARS] or UNREADABLE if isinstance(value, str) else UNREADABLE


_REFUSE = """
    INSERT INTO refusal (id, tenant, key, code, detail)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
    ON CONFLICT (id) DO NOTHING
"""


async def refuse(refusals: list[Refusal]) -> None:
    """Write down, in one statement, what was not accepted; a repeat changes nothing."""
    await hot().execute(
        _REFUSE,
        [each.id for each in refusals],
        [each.tenant for each in refusals],
        [each.key for each in refusals],
        [each.code for each in refusals],
        [each.detail for each in refusals],
    )
