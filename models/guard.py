"""A guard: a gate that every call passes, how often it said no, and when that was proven."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Column, Text
from sqlmodel import Field, SQLModel

from models.columns import when
from models.database import hot


class Guard(StrEnum):
    """Which gate."""

    CONTRACT = "contract"  # arguments outside the tool's contract
    ALLOWLIST = "allowlist"  # a tool that the pipeline or the policy does not let it use
    BUDGET = "budget"  # a ceiling of the run
    LABELS = "labels"  # text from outside would have chosen what it must not
    APPROVAL = "approval"  # a person must allow it first
    GATE = "gate"  # the switch
    HEALTH = "health"  # an open breaker
    RATE = "rate"  # more calls than the tool is to get
    SPEND = "spend"  # a day's ceiling of the tenant or the fleet
    RESULT = "result"  # a result outside the tool's contract
    LOOP = "loop"  # the run goes round in circles
    REPLAY = "replay"  # a resumed run asks what it did not ask before
    SENSITIVE = "sensitive"  # let pass, and on record before it leaves


class GuardRow(SQLModel, table=True):
    __tablename__ = "guard"

    name: str = Field(primary_key=True, sa_type=Text)
    refused: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default="0")
    )
    last_at: datetime | None = when()
    proven_at: datetime | None = when()
    proven: bool | None = None
    told: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})


class Standing(NamedTuple):
    """How a guard stands."""

    name: str
    refused: int
    last_at: datetime | None
    proven: bool | None
    proven_at: datetime | None
    told: str
    age_s: float | None = None
    """Since it was last tried, by the database's clock."""


_ALL = """
    SELECT name, refused, last_at, proven, proven_at, told,
           extract(epoch FROM now() - proven_at)::float AS age_s
      FROM guard ORDER BY name
"""
_PROVE = """
    INSERT INTO guard (name, proven, proven_at, told)
    SELECT name, proven, now(), told FROM unnest($1::text[], $2::bool[], $3::text[])
        AS m(name, proven, told)
    ON CONFLICT (name) DO UPDATE
       SET proven = EXCLUDED.proven, proven_at = EXCLUDED.proven_at, told = EXCLUDED.told
"""


async def standing() -> list[Standing]:
    """Every guard that has ever refused a call or been tried."""
    return [Standing(*row) for row in await hot().fetch(_ALL)]


def lacking(found: Sequence[Standing], *, within_s: float) -> dict[Guard, str]:
    """Why a guard does not count as proven, for each of which that is so."""
    known = {each.name: each for each in found}
    return {guard: why for guard in Guard if (why := _lacks(known.get(guard), within_s))}


def _lacks(found: Standing | None, within_s: float) -> str:
    if found is None or found.age_s is None:
        return "never tried: sluice guards verify"
    if not found.proven:
        return f"tried, and not proven: {found.told}"
    if found.age_s > within_s:
        return f"last proven {found.age_s / 3600:.1f} h ago: sluice guards verify"
    return ""


async def tried(proofs: Sequence[tuple[Guard, bool, str]]) -> None:
    """Note what a trial of the guards has found; `told` says what was seen."""
    columns: list[list[Any]] = [list(each) for each in zip(*proofs, strict=True)]
    await hot().execute(_PROVE, *columns)
