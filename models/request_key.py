"""The dedupe table: one row for each (tenant, idempotency key) ever accepted."""

import hashlib
import math
import unicodedata
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import CheckConstraint, SmallInteger, Text
from sqlmodel import Field, SQLModel

from models.columns import when

KEY_BYTES = 255
PROPOSAL_KEY = "proposal:"
"""Before the keys that we mint for approved proposals: no client may take one of those."""
FINGERPRINT_VERSION = 1
_EXACT = 2**53
"""Beyond it a float no longer stands for one integer (RFC 8785, section 3.2.2.3)."""


class RequestKey(SQLModel, table=True):
    """Outlives the run's payload; never pruned while the run is unfinished or in doubt."""

    __tablename__ = "request_key"

    tenant: str = Field(primary_key=True, sa_type=Text)
    key: str = Field(primary_key=True, sa_type=Text)
    fingerprint: bytes
    fingerprint_version: int = Field(default=FINGERPRINT_VERSION, sa_type=SmallInteger)
    run_id: UUID
    created_at: datetime | None = when(nullable=False, default="now()")

    __table_args__ = (
        CheckConstraint(f"octet_length(key) BETWEEN 1 AND {KEY_BYTES}", name="key_fits"),
    )


def canonical(value: Any) -> bytes:
    """The one text of a JSON value: sorted names, NFC strings, 1.0 as 1 (after RFC 8785).

    Raises:
        ValueError: JSON has no such value, or none that every reader would read alike:
            NaN, infinities, integers over 64 bits, half surrogates, nesting without end.
    """
    try:
        return orjson.dumps(_normal(value), option=orjson.OPT_SORT_KEYS)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"not a JSON value: {error}") from error


def fingerprint(pipeline: str, subject: str | None, input_: Any, *, dry_run: bool = False) -> bytes:
    """What the client sent, by which a reused key is told from a repeated request.

    Not in it, on purpose: the way the request came (HTTP and broker must match), the
    pipeline's version (a deploy must not turn a duplicate into a 422) and the contract's
    defaults (a new optional field would do the same). A dry run is another payload: whoever
    asked for one must not be answered with the run that wrote, nor the other way round.
    """
    told = [pipeline, subject, input_, *(["dry run"] if dry_run else [])]
    return hashlib.sha256(canonical(told)).digest()


def _normal(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else unicodedata.normalize("NFC", value)
    if isinstance(value, dict):
        return {_normal(name): _normal(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_normal(each) for each in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"not a JSON value: {value}")
        return int(value) if value.is_integer() and abs(value) < _EXACT else value
    return value
