"""The pulse: what the fleet did lately. Runs ended, runs failed, money spent, in slices of time."""

from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Column, DateTime
from sqlmodel import Field, SQLModel

from models.columns import usd
from models.database import hot
from models.run import StopReason

KEPT_S = 7200.0
FAILURES = frozenset(
    {
        StopReason.TOOL_TIMEOUT,
        StopReason.TOOL_RATE_LIMIT,
        StopReason.TOOL_OUTPUT_INVALID,
        StopReason.TOOL_AUTH_FAILED,
        StopReason.TOOL_FAILED,
        StopReason.CIRCUIT_OPEN,
        StopReason.MODEL_OUTPUT_INVALID,
        StopReason.MODEL_FAILED,
        StopReason.IN_DOUBT,
        StopReason.REPLAY_MISMATCH,
        StopReason.CRASHES_EXHAUSTED,
        StopReason.INTERNAL_ERROR,
    }
)
"""What says that the machine is ill. A broken ceiling or a person's no does not."""


class Pulse(SQLModel, table=True):
    """One worker's share of one slice."""

    since: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), primary_key=True)
    )
    worker: UUID = Field(primary_key=True)
    ended: int
    failed: int
    usd: Any = usd()


class Beat(NamedTuple):
    """What happened in some span of time."""

    ended: int
    failed: int
    """As `FAILURES` lists them."""
    usd: Decimal

    def __add__(self, other: "Beat") -> "Beat":  # type: ignore[override]  # a sum, not a longer tuple
        return Beat(self.ended + other.ended, self.failed + other.failed, self.usd + other.usd)


NOTHING = Beat(0, 0, Decimal(0))

_TELL = "INSERT INTO pulse (worker, since, ended, failed, usd) VALUES ($1, now(), $2, $3, $4)"
_FEEL = """
    SELECT coalesce(sum(ended), 0)::int, coalesce(sum(failed), 0)::int, coalesce(sum(usd), 0)
      FROM pulse
     WHERE since > greatest(now() - make_interval(secs => $1),
                            (SELECT changed_at FROM gate WHERE scope = 'fleet'))
"""
"""What was before the gate was last put has been judged by whoever put it."""
_FORGET = "DELETE FROM pulse WHERE since < now() - make_interval(secs => $1)"


async def tell(worker: UUID, beat: Beat) -> None:
    """Add what one worker did since it told last."""
    await hot().execute(_TELL, worker, beat.ended, beat.failed, beat.usd)


async def feel(window_s: float) -> Beat:
    """What the whole fleet did within the window, or since its gate was last put."""
    return Beat(*await hot().fetchrow(_FEEL, window_s))


async def forget() -> None:
    await hot().execute(_FORGET, KEPT_S)
