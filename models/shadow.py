"""A shadow: the tenant of the guards' trials. Its rows go; the audit's lines of it stay."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from models.database import dedicated, hot

SHADOW = "sluice-guards"
PIPELINE = "guards-trial"
SCOPE = f"tenant:{SHADOW}"
_LOCK_EVERY_S = 0.1

_TURN = "SELECT pg_try_advisory_lock(hashtextextended('sluice.guards', 0))"

_RUNS = "SELECT array_agg(run_id) FROM request_key WHERE tenant = $1"
"""By its key: there is no index on the tenant of finished runs, and that table is large."""
_REMOVE = (
    # First of all, like everybody who touches a run's steps; then the money goes back.
    "SELECT id FROM run WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE",
    "UPDATE ledger_entry SET reserved_usd = 0 WHERE run_id = ANY($1::uuid[])",
    "DELETE FROM ledger_entry WHERE run_id = ANY($1::uuid[])",
    "DELETE FROM review WHERE run_id = ANY($1::uuid[])",
    "DELETE FROM run WHERE id = ANY($1::uuid[])",
    "DELETE FROM tombstone WHERE run_id = ANY($1::uuid[])",
    "DELETE FROM request_key WHERE run_id = ANY($1::uuid[]) AND tenant = $2",
)
_CLEAR = (
    ("DELETE FROM contract WHERE name = $1", PIPELINE),
    ("DELETE FROM spend WHERE scope = $1", SCOPE),
    ("DELETE FROM breaker WHERE tool LIKE $1", "guards.%"),
)
_STANDS = "SELECT status, stop_reason, waiting_for, detail FROM run WHERE id = $1"
_STEPS = "SELECT state FROM ledger_entry WHERE run_id = $1 ORDER BY number"
_REVIEW = "SELECT id FROM review WHERE run_id = $1 AND verdict IS NULL"


class Busy(Exception):
    """Somebody else tries the guards just now."""


@asynccontextmanager
async def turn(*, patience_s: float) -> AsyncIterator[None]:
    """One trial of the guards at a time, for the whole fleet; a session that dies gives it back.

    Raises:
        Busy: The others were not done within `patience_s`.
    """
    connection = await dedicated()
    try:
        give_up = asyncio.get_running_loop().time() + patience_s
        while not await connection.fetchval(_TURN):
            if asyncio.get_running_loop().time() > give_up:
                raise Busy(
                    f"another `sluice guards verify` has been at work for {patience_s:g} s: look at"
                    " its outcome, or try again"
                )
            await asyncio.sleep(_LOCK_EVERY_S)
        yield
    finally:
        await connection.close(timeout=1)


async def remove() -> None:
    """Remove everything of the shadow, an earlier trial's that died included; in one transaction.

    The trials' breakers go without a word to those who wait for others: letting them go would be
    a burst on tools that are really ill.
    """
    runs: list[UUID] = await hot().fetchval(_RUNS, SHADOW) or []
    async with hot().acquire() as connection, connection.transaction():
        for statement in _REMOVE:
            own = (runs, SHADOW) if "$2" in statement else (runs,)
            await connection.execute(statement, *own)
        for statement, what in _CLEAR:
            await connection.execute(statement, what)


async def stands(run: UUID) -> Any:
    """How a run stands, or None."""
    return await hot().fetchrow(_STANDS, run)


async def steps(run: UUID) -> tuple[str, ...]:
    """The states of a run's steps in the ledger, in the order it came to them."""
    return tuple(row[0] for row in await hot().fetch(_STEPS, run))


async def asked(run: UUID) -> UUID | None:
    """The review that a run waits for."""
    found: UUID | None = await hot().fetchval(_REVIEW, run)
    return found
