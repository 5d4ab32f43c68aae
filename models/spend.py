"""Spend: what was spent and what is reserved, of one scope in one UTC day."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Text
from sqlmodel import Field, SQLModel

from models.columns import usd
from models.database import hot


class Spend(SQLModel, table=True):
    """Follows the ledger by a trigger: whoever moves a ledger entry's money moves its windows in
    the same transaction. Ceilings are the policy's, and judged where an intent is written."""

    scope: str = Field(primary_key=True, sa_type=Text)
    """fleet or tenant:NAME."""
    day: date = Field(primary_key=True)
    """As the SQL function `spend_day` says it, which alone knows where a day begins."""
    reserved: Any = usd()
    spent: Any = usd()
    overrun: Any = usd()
    """Of what was spent: what targets charged beyond their calls' reservations."""


_OPEN = """
    INSERT INTO spend (scope, day)
    SELECT scope, spend_day()
      FROM (SELECT 'fleet' UNION SELECT 'tenant:' || tenant FROM run WHERE id = ANY($1::uuid[]))
           AS wanted(scope)
     ORDER BY scope
    ON CONFLICT DO NOTHING
"""


async def open_windows(runs: Sequence[UUID]) -> None:
    """Make today's rows for the fleet and for the tenants of these runs; without them nothing
    paid is admitted."""
    await hot().execute(_OPEN, runs)


class Used(NamedTuple):
    """What stands in today's windows for one run: reserved and spent."""

    fleet: Decimal
    tenant: Decimal


_USED = """
    SELECT run.id, coalesce(f.reserved + f.spent, 0), coalesce(t.reserved + t.spent, 0)
      FROM run
      LEFT JOIN spend f ON f.scope = 'fleet' AND f.day = spend_day()
      LEFT JOIN spend t ON t.scope = 'tenant:' || run.tenant AND t.day = spend_day()
     WHERE run.id = ANY($1::uuid[])
"""


async def used_today(runs: Sequence[UUID]) -> dict[UUID, Used]:
    """For people and explanations: by the time it is read it may have changed."""
    rows = await hot().fetch(_USED, runs) if runs else []
    return {row[0]: Used(row[1], row[2]) for row in rows}


async def spending(days: int) -> list[Any]:
    """What was spent and is reserved lately: newest day first, the fleet before its tenants."""
    found: list[Any] = await hot().fetch(
        "SELECT * FROM spend WHERE day > spend_day() - $1::int"
        " ORDER BY day DESC, scope <> 'fleet', spent + reserved DESC, scope",
        days,
    )
    return found
