"""The timeline: which PostgreSQL our rows live in. Another one means a failover or a restore."""

from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Text
from sqlmodel import Field, SQLModel

from models import audit
from models.columns import when
from models.gate import GateMode
from models.scope import FLEET

log = structlog.get_logger()


class Timeline(SQLModel, table=True):
    """The one server and history that the fleet has last agreed to write to."""

    one: bool = Field(default=True, primary_key=True)
    system: str = Field(sa_type=Text)
    """initdb's mark, the same for a primary and its standbys."""
    number: int
    """Grows by one at each promotion and each restore to a point in time."""
    since: datetime | None = when(nullable=False, default="now()")


_REPLACED = "the database was replaced: failover or restore"
_WATCH = f"""
    WITH here AS (
        SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system,
               ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int
                   AS number),
    seen AS (
        INSERT INTO timeline AS t (system, number) SELECT system, number FROM here
        ON CONFLICT (one) DO UPDATE
           SET system = EXCLUDED.system, number = EXCLUDED.number, since = now()
         WHERE (t.system, t.number) IS DISTINCT FROM (EXCLUDED.system, EXCLUDED.number)
     RETURNING system, number, xmax <> 0 AS changed),
    noticed AS (
        INSERT INTO notice (id, kind, told)
        SELECT 'timeline:' || system || ':' || number, 'timeline',
               'The database was replaced (failover or restore), and the fleet went into safe'
               || ' mode. What the old one had acknowledged last may be missing. Compare, then:'
               || ' sluice gate open'
          FROM seen WHERE changed
        ON CONFLICT (id) DO NOTHING)
    UPDATE gate
       SET mode = 'read_only', epoch = epoch + 1, who = 'sluice', changed_at = now(),
           reason = '{_REPLACED}'
      FROM seen
     WHERE seen.changed AND gate.scope = 'fleet' AND gate.mode = 'open'
 RETURNING gate.epoch
"""  # noqa: S608  # composed of constants
"""The WAL's name says which timeline is written now; the control file says it only after the next
checkpoint. Whoever comes second waits on the row, and finds the gate shut already."""


async def watch(connection: Any) -> None:
    """Look where a new connection has led us, before anything is done on it.

    A promoted standby or a restored backup may lack what the lost primary had acknowledged: keys,
    intents, outcomes. No promise holds across that, so writes stop until an operator opens the
    gate. Every connection of a worker passes here, and a failover breaks the old ones, so no
    intent is written on a new timeline before the gate is shut.

    Raises:
        ConnectionError: It is a standby, or recovering still: nothing can be written there now.
    """
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        raise ConnectionError("this PostgreSQL is a standby, or recovering still")
    async with connection.transaction():
        epoch = await connection.fetchval(_WATCH)
        if epoch is not None:
            about = {"scope": FLEET, "mode": GateMode.READ_ONLY, "epoch": epoch}
            about["reason"] = _REPLACED
            await audit.append(connection, who="sluice", act=audit.Act.GATE, about=about)
            log.error("gate.shut", reason=_REPLACED)
