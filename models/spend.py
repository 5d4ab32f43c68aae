"""Spend: what was spent and what is reserved, of one scope in one UTC day."""

from collections.abc import Sequence
from datetime import date
from typing import Any
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
    reserved: Any = usd()
    spent: Any = usd()


_OPEN = """
    INSERT INTO spend (scope, day)
    SELECT scope, (now() AT TIME ZONE 'utc')::date
      FROM (SELECT 'fleet' UNION SELECT 'tenant:' || tenant FROM run WHERE id = ANY($1::uuid[]))
           AS wanted(scope)
     ORDER BY scope
    ON CONFLICT DO NOTHING
"""


async def open_windows(runs: Sequence[UUID]) -> None:
    """Make today's rows for the fleet and for the tenants of these runs; without them nothing
    paid is admitted."""
    await hot().execute(_OPEN, runs)


async def spending(days: int) -> list[Any]:
    """What was spent and is reserved lately: newest day first, the fleet before its tenants."""
    found: list[Any] = await hot().fetch(
        "SELECT * FROM spend WHERE day > (now() AT TIME ZONE 'utc')::date - $1::int"
        " ORDER BY day DESC, scope <> 'fleet', spent + reserved DESC, scope",
        days,
    )
    return found
