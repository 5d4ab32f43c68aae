"""The gate: the fleet's switch. An intent is written only while it is open."""

import asyncio
import time
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import asyncpg
import structlog
from sqlalchemy import Text
from sqlmodel import Field, SQLModel

from models import audit, notice
from models.columns import when, word
from models.database import hot
from models.scope import POLICY, known, readable

log = structlog.get_logger()

CHANNEL = "sluice_gate"
PATIENCE_S = 30.0
"""How long a flip tries to get past sessions that hold the table."""
_LOCK_MS = 1_000
"""How long one try holds up the writers behind it, before it looks who is in the way."""


class GateMode(StrEnum):
    """What may start. Of several scopes the strictest counts."""

    OPEN = "open"
    READ_ONLY = "read_only"  # safe mode: a write, and a read that is not allowed, parks its run
    CLOSED = "closed"  # nothing is claimed; a run parks at its next step


STRICTNESS = {GateMode.OPEN: 0, GateMode.READ_ONLY: 1, GateMode.CLOSED: 2}


class Gate(SQLModel, table=True):
    """Without a row `fleet` nothing is admitted: the switch fails closed. Others come when shut."""

    scope: str = Field(primary_key=True, sa_type=Text)
    """fleet, policy, tenant:NAME, pipeline:NAME or tool:NAME."""
    mode: GateMode = Field(sa_type=word(GateMode))
    epoch: int = 0
    reason: str = Field(default="", sa_type=Text)
    who: str = Field(default="", sa_type=Text)
    changed_at: datetime | None = when(nullable=False, default="now()")
    cohort: int = 0
    """How many parked runs were let go last; each cohort is twice the one before."""
    cohort_at: datetime | None = when(nullable=False, default="now()")


class Flip(NamedTuple):
    """What became of a flip."""

    scope: str
    mode: GateMode
    """The mode it stands in now; a shut gate is not loosened by shutting it less."""
    epoch: int
    changed: bool


class GateBusy(Exception):
    """The flip could not get past other sessions; nothing was changed. Try again."""


_SHUT = "SET LOCAL lock_timeout = {ms}; LOCK TABLE gate IN ACCESS EXCLUSIVE MODE"
"""Waits for every statement that has read the gate, and holds up those that come later until the
flip is committed. They take their snapshot after that wait, for they are READ COMMITTED. Without
the lock, or under REPEATABLE READ, writes leak: tests/race shows both."""

_FLIP = """
    WITH flipped AS (
        INSERT INTO gate AS g (scope, mode, epoch, who, reason, changed_at)
        VALUES ($1, $2, 1, $3, $4, clock_timestamp())
        ON CONFLICT (scope) DO UPDATE
           SET mode = EXCLUDED.mode, epoch = g.epoch + 1, who = EXCLUDED.who,
               reason = EXCLUDED.reason, changed_at = EXCLUDED.changed_at,
               cohort = 0, cohort_at = EXCLUDED.changed_at - interval '1 h'
         WHERE g.mode <> EXCLUDED.mode AND NOT ($5 AND g.mode = 'closed')
     RETURNING scope, epoch)
    SELECT scope, epoch, pg_notify('sluice_gate', scope) FROM flipped
"""
"""The first cohort may go at once. The notice only makes workers look at once."""

_IN_THE_WAY = """
    SELECT a.pid, a.application_name, a.state,
           extract(epoch FROM clock_timestamp() - a.state_change)::float AS since_s,
           (a.state LIKE 'idle in transaction%' OR a.wait_event = 'ClientRead')
               AND a.state_change < clock_timestamp() - make_interval(secs => $1) AS idle
      FROM pg_locks l JOIN pg_stat_activity a USING (pid)
     WHERE l.relation = 'gate'::regclass AND l.granted AND a.pid <> pg_backend_pid()
"""


async def flip(
    scope: str,
    mode: GateMode,
    *,
    who: str,
    reason: str,
    loosen: bool = True,
    page: str | None = None,
    patience_s: float | None = None,
) -> Flip:
    """Put a scope's gate. Once this returns, no intent that a shut gate forbids is committed.

    What was committed before may yet start to leave, for its `send_before`: see
    models/standstill.py. With `loosen` false, a closed gate stays closed. `page` is a sentence for
    on-call, noticed with the flip or not at all.

    Raises:
        ValueError: There is no such scope, or no reason that can be read.
        GateBusy: Other sessions held the table for half a minute, or for `patience_s`.
    """
    readable(scope, reason)
    stands = await hot().fetchrow("SELECT mode, epoch FROM gate WHERE scope = $1", scope)
    if stands is None:
        await known(scope)
    elif stands["mode"] == mode or (not loosen and stands["mode"] == GateMode.CLOSED):
        # It was committed under the lock: nothing is left to wait for, and nobody held up.
        return Flip(scope, GateMode(stands["mode"]), stands["epoch"], changed=False)
    patience_s = PATIENCE_S if patience_s is None else patience_s
    give_up = time.monotonic() + patience_s
    lock_ms = max(1, min(_LOCK_MS, int(1000 * patience_s / 2)))  # 0 would be for ever
    while True:
        try:
            return await _flip(
                scope, mode, who=who, reason=reason, loosen=loosen, page=page, lock_ms=lock_ms
            )
        except asyncpg.LockNotAvailableError:
            told = await _clear_the_way()
            if time.monotonic() > give_up:
                raise GateBusy(f"the gate was not flipped: {told or 'its table is held'}") from None
            await asyncio.sleep(0.01)


async def _flip(
    scope: str,
    mode: GateMode,
    *,
    who: str,
    reason: str,
    loosen: bool,
    page: str | None,
    lock_ms: int,
) -> Flip:
    async with hot().acquire() as connection, connection.transaction():
        await connection.execute(_SHUT.format(ms=lock_ms))
        row = await connection.fetchrow(_FLIP, scope, mode, who, reason, not loosen)
        if row is None:
            stands = await connection.fetchrow("SELECT * FROM gate WHERE scope = $1", scope)
            return Flip(scope, GateMode(stands["mode"]), stands["epoch"], changed=False)
        about = {"scope": scope, "mode": mode, "epoch": row["epoch"], "reason": reason}
        await audit.append(connection, who=who, act=audit.Act.GATE, about=about)
        if page is not None:
            kind = notice.NoticeKind.TRIPPED
            await notice.tell(connection, f"gate:{scope}:{row['epoch']}", kind, page)
    log.warning("gate.flipped", who=who, **about)
    return Flip(scope, mode, row["epoch"], changed=True)


async def _clear_the_way() -> str:
    """End sessions that sit on the table and wait for their client; say who else holds it.

    A client that froze between parsing and binding a statement counts as active, and no time-out
    of PostgreSQL ends it.
    """
    rows = await hot().fetch(_IN_THE_WAY, _LOCK_MS / 1000)
    for row in rows:
        if row["idle"]:
            try:
                await hot().execute("SELECT pg_terminate_backend($1)", row["pid"])
            except asyncpg.InsufficientPrivilegeError:
                continue
            log.warning("gate.idle_session_ended", pid=row["pid"], app=row["application_name"])
    return ", ".join(
        f"process {row['pid']} ({row['application_name'] or 'unnamed'}) holds its table,"
        f" {row['state']} for {row['since_s']:.0f} s"
        for row in rows
    )


async def gates() -> list[Any]:
    """Every scope's gate as it stands, the fleet's first. A statement of its own: whoever reads
    the gate in an open transaction holds up the flip."""
    found: list[Any] = await hot().fetch(
        "SELECT * FROM gate ORDER BY scope <> 'fleet', scope <> 'policy', scope"
    )
    return found


_POLICY_STANDS = """
    SELECT coalesce(gate.mode <> 'open', false) AS shut,
           EXISTS (SELECT FROM worker
                    WHERE safe_mode AND last_seen > now() - interval '30 s') AS wanted
      FROM (SELECT) AS one LEFT JOIN gate ON gate.scope = 'policy'
     WHERE EXISTS (SELECT FROM worker me
                    WHERE me.id = $1 AND me.steady_since <= now() - make_interval(secs => $2))
"""


async def follow_policy(worker: Any, *, steady_s: float) -> None:
    """Put the policy's own scope as the living workers' policies have it: the strictest counts.

    Whoever looked before a strict worker came may open it once too often; the next look shuts it,
    and that worker itself writes nothing meanwhile. A gate that somebody holds is left for later.
    """
    row = await hot().fetchrow(_POLICY_STANDS, worker, steady_s)
    if row is None or row["shut"] == row["wanted"]:
        return
    mode, told = GateMode.OPEN, "no living worker's policy has safe_mode.enabled any more"
    if row["wanted"]:
        mode, told = GateMode.READ_ONLY, "a living worker's policy has safe_mode.enabled"
    try:
        await flip(POLICY, mode, who=POLICY, reason=told, patience_s=2.0)
    except GateBusy as error:
        log.warning("gate.busy", error=str(error))
