"""A standstill: what is still under way behind a shut gate, and the two answers to that.

STOPPED: no write starts any more. DRAINED: none is under way either, and what became of each is
known or listed as in doubt.
"""

import asyncio
import time
from typing import Any, NamedTuple
from uuid import UUID

from config.settings import settings
from models.database import hot

MARGIN_S = 0.1
"""By so much may our clock, the database's and a worker's drift apart within one `send_before`."""
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.005, 0.1

_TRIES = """
    WITH e AS (
        SELECT run_id, step, tool, effect, state, send_before, quiet_at, true AS unanswered
          FROM ledger_entry WHERE state IN ('reserved', 'in_doubt')
        UNION ALL
        SELECT run_id, step, tool, effect, state, send_before, quiet_at, false
          FROM ledger_entry
         WHERE tries > 1 AND state NOT IN ('reserved', 'in_doubt')
           AND quiet_at > now() - make_interval(secs => $2))
    SELECT e.run_id, e.step, e.tool, r.tenant, e.unanswered,
           e.send_before > now() - make_interval(secs => $2)
               OR ($3 AND e.state = 'reserved' AND r.status = 'running') AS may_start,
           e.quiet_at > now() AS may_travel
      FROM e JOIN run r ON r.id = e.run_id
     WHERE e.send_before IS NOT NULL AND e.effect <> 'read'
       AND CASE split_part($1, ':', 1)
           WHEN 'tenant'   THEN r.tenant   = substr($1, 8)
           WHEN 'pipeline' THEN r.pipeline = substr($1, 10)
           WHEN 'tool'     THEN e.tool     = substr($1, 6)
           ELSE true END
"""
"""Tries that may start to leave, travel, or whose outcome is not known. An entry with an outcome
is past only if it had no other try: an earlier one, of a worker that fell silent, may leave yet,
and its `send_before` was at most the latest one's."""


class Doubtful(NamedTuple):
    """A write of which nobody knows yet whether it happened."""

    run_id: UUID
    step: str
    tool: str
    tenant: str


class Standstill(NamedTuple):
    """How far a shut scope has come."""

    may_start: int
    """Writes that were admitted and may yet leave."""
    may_travel: int
    """Writes that may be under way, or on their target's desk, unanswered."""
    in_doubt: list[Doubtful]
    """Unanswered, and no longer under way: looked up or asked about when the gate opens again."""

    @property
    def word(self) -> str:
        if self.may_start:
            return "stopping"
        return "stopped" if self.may_travel else "drained"


async def standstill(scope: str, *, just_flipped: bool = False) -> Standstill:
    """Look at a scope now. `just_flipped` also distrusts the database's clock: see `stopped`."""
    rows: list[Any] = await hot().fetch(_TRIES, scope, MARGIN_S, just_flipped)
    start = [row for row in rows if row["may_start"]]
    travel = [row for row in rows if row["may_travel"] or row["may_start"]]
    return Standstill(
        len(start),
        len(travel),
        [
            Doubtful(row["run_id"], row["step"], row["tool"], row["tenant"])
            for row in rows
            if row["unanswered"] and not row["may_travel"] and not row["may_start"]
        ],
    )


class Overruled(Exception):
    """Somebody else has flipped this gate meanwhile: what is under way behind it is not known."""


async def stopped(scope: str, since: float, *, epoch: int | None = None) -> Standstill:
    """Come back once no write behind this gate starts any more: at the latest `send_before_s` and
    a margin after `since`, the end of the flip on our monotonic clock. `epoch` is the flip's.

    Until then an unanswered write of a running run counts as one that may start, whatever the
    database's clock says of its deadline: that clock may have jumped in between.

    Raises:
        Overruled: The gate is not in that epoch any more.
    """
    window_s = settings().worker.send_before_s + MARGIN_S
    pause_s = _FIRST_LOOK_S
    while True:
        found = await standstill(scope, just_flipped=time.monotonic() - since < window_s)
        await _undisturbed(scope, epoch)
        if not found.may_start:
            return found
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_LOOK_S)


async def drained(scope: str, since: float, *, epoch: int | None = None) -> Standstill:
    """Come back once none is under way either: at the latest after the slowest tool's timeout."""
    found = await stopped(scope, since, epoch=epoch)
    while found.may_travel:
        await asyncio.sleep(_LONGEST_LOOK_S)
        found = await standstill(scope)
        await _undisturbed(scope, epoch)
    return found


async def _undisturbed(scope: str, epoch: int | None) -> None:
    """The gate stood as it was put all along: nothing came through that was not counted."""
    if epoch is None:
        return
    row = await hot().fetchrow("SELECT epoch, mode, who FROM gate WHERE scope = $1", scope)
    if row is None or row["epoch"] != epoch:
        told = f"it is {row['mode']} now, by {row['who']}" if row else "its row is gone"
        raise Overruled(f"the gate of {scope} was flipped again meanwhile: {told}")
