"""The gate: the fleet's switch. An intent is written only while it is open."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Text
from sqlmodel import Field, SQLModel

from models.columns import when, word
from models.database import hot

FLEET = "fleet"


class GateMode(StrEnum):
    OPEN = "open"
    READ_ONLY = "read_only"  # safe mode: a write step parks its run
    CLOSED = "closed"


class Gate(SQLModel, table=True):
    """A missing row admits nothing: the switch fails closed."""

    scope: str = Field(primary_key=True, sa_type=Text)
    mode: GateMode = Field(sa_type=word(GateMode))
    epoch: int = 0
    reason: str = Field(default="", sa_type=Text)
    who: str = Field(default="", sa_type=Text)
    changed_at: datetime | None = when(nullable=False, default="now()")


_OPEN = """
    UPDATE gate SET mode = 'open', epoch = epoch + 1, who = $2, reason = $3, changed_at = now()
     WHERE scope = $1 AND mode <> 'open'
 RETURNING epoch
"""


async def fleet_gate() -> Any:
    """The fleet's gate as it stands, with when and why it was put so; None admits nothing."""
    return await hot().fetchrow("SELECT * FROM gate WHERE scope = $1", FLEET)


async def open_gate(*, who: str, reason: str) -> bool:
    """Let writes start again; False when they could already. Parked runs go on by themselves."""
    return await hot().fetchval(_OPEN, FLEET, who, reason) is not None
