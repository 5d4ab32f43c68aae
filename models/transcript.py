"""A transcript: what a model was asked and what it said, word by word but for secrets.

Written by the worker that asked, try by try; kept for a time of its own, and shown to operators at
a terminal alone: no tenant's key reads it.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, Column, Identity, Index, Text
from sqlmodel import Field, SQLModel

from models.columns import document, usd, when
from models.database import hot

BATCH = 500
MODEL = "model."
"""How the names of language models begin, as tools: `model.NAME`."""


class Transcript(SQLModel, table=True):
    """One try of one step."""

    id: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True)
    )
    run_id: UUID
    step: str = Field(sa_type=Text)
    tool: str = Field(sa_type=Text)
    asked: str = Field(sa_type=Text)
    """The model, as we call it at the endpoint."""
    reported: str = Field(sa_type=Text)
    """The model, as the endpoint calls what answered."""
    prompt: Any = document(nullable=False)
    prompt_hash: bytes
    """Of the prompt as it was sent, before anything was hidden."""
    response: Any = document(nullable=False)
    tokens_in: int
    tokens_out: int
    latency_ms: int
    cost_usd: Decimal = usd()
    prices: str = Field(sa_type=Text)
    """Whose prices: `settings`, or the pinned table and its version."""
    created_at: datetime | None = when(nullable=False, default="now()")

    __table_args__ = (
        Index("transcript_run", "run_id"),
        Index("transcript_age", "created_at"),
    )


class Line(NamedTuple):
    """As it is written; `prompt` and `response` are JSON."""

    run_id: UUID
    step: str
    tool: str
    asked: str
    reported: str
    prompt: bytes
    prompt_hash: bytes
    response: bytes
    tokens_in: int
    tokens_out: int
    latency_ms: int
    cost_usd: Decimal
    prices: str


_KEEP = """
    INSERT INTO transcript (run_id, step, tool, asked, reported, prompt, prompt_hash, response,
           tokens_in, tokens_out, latency_ms, cost_usd, prices)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""
_CLEAR = """
    DELETE FROM transcript WHERE id IN (
        SELECT id FROM transcript WHERE created_at < now() - make_interval(secs => $1)
         ORDER BY created_at LIMIT $2)
"""


async def keep(line: Line) -> None:
    """Write down one try.

    Raises:
        OSError, asyncpg.PostgresError, asyncpg.InterfaceError: The database did not take it.
    """
    await hot().execute(_KEEP, *line)


async def of(run_id: UUID) -> list[Any]:
    """Every try of a run, in order."""
    rows: list[Any] = await hot().fetch(
        "SELECT * FROM transcript WHERE run_id = $1 ORDER BY id", run_id
    )
    return rows


async def clear(*, transcripts_s: float) -> None:
    """Remove one batch of those whose time is up."""
    await hot().execute(_CLEAR, transcripts_s, BATCH)
