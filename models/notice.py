"""A notice: something that needs a person now, told once."""

from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Text
from sqlmodel import Field, SQLModel

from models.columns import when, word
from models.database import hot
from models.run import PAGING
from models.shadow import SHADOW


class NoticeKind(StrEnum):
    """What happened."""

    DOUBT = "doubt"  # a write may or may not have happened, and only a person can tell
    STOPPED = "stopped"  # a run stopped for a reason that wakes on-call
    STRANDED = "stranded"  # runs wait for a pipeline version that no living worker has
    TIMELINE = "timeline"  # the database was replaced, and the fleet went into safe mode
    OVERRUN = "overrun"  # a target charged more for a call than was reserved
    TRIPPED = "tripped"  # the fleet went into safe mode by itself
    TRANSITION = "transition"  # a change of a run or a step that may not be: a bug of ours


class Notice(SQLModel, table=True):
    """Its id is made of what it is about, so that however many workers see it, it is one."""

    id: str = Field(primary_key=True, sa_type=Text)
    kind: NoticeKind = Field(sa_type=word(NoticeKind))
    told: str = Field(sa_type=Text)
    """One sentence, without payloads."""
    since: datetime | None = when(nullable=False, default="now()")
    tries: int = 0
    next_try: datetime | None = when(nullable=False, default="now()")
    sent_at: datetime | None = when()


_COLLECT = f"""
    WITH lacking AS MATERIALIZED (
        SELECT name, version FROM contract c
         WHERE NOT EXISTS (SELECT FROM worker, json_array_elements(worker.runs) AS r(pair)
                            WHERE worker.last_seen > now() - interval '1 min'
                              AND r.pair ->> 0 = c.name AND (r.pair ->> 1)::int = c.version)),
    found (id, kind, told) AS (
        SELECT 'doubt:' || e.tool || ':' || to_char(now(), 'YYYY-MM-DD"T"HH24'), 'doubt',
               count(*) || ' write(s) of ' || e.tool || ' may or may not have happened, and only a'
               || ' person can tell: sluice reviews --kind in_doubt'
          FROM review v JOIN ledger_entry e ON (e.run_id, e.step) = (v.run_id, v.step)
         WHERE v.verdict IS NULL AND v.kind = 'in_doubt' AND v.tenant <> '{SHADOW}'
         GROUP BY e.tool
        UNION ALL
        SELECT 'stopped:' || pipeline || ':' || version || ':' || stop_reason || ':'
               || to_char(now(), 'YYYY-MM-DD"T"HH24'), 'stopped',
               count(*) || ' run(s) of ' || pipeline || ' v' || version || ' stopped as '
               || stop_reason || ', the last one ' || (array_agg(id ORDER BY finished_at DESC))[1]
          FROM run
         WHERE stop_reason IN ({", ".join(f"'{each}'" for each in PAGING)})
           AND finished_at > now() - interval '1 h' AND tenant <> '{SHADOW}'
         GROUP BY pipeline, version, stop_reason
        UNION ALL
        SELECT 'stranded:' || c.name || ':' || c.version || ':' || to_char(now(), 'YYYY-MM-DD'),
               'stranded',
               count(*) || ' run(s) wait for ' || c.name || ' v' || c.version
               || ', which no living worker runs: start one that has it'
          FROM lacking c JOIN run ON (c.name, c.version) = (run.pipeline, run.version)
         WHERE status = 'queued' AND dispatch_at < now() - interval '1 min'
           AND tenant <> '{SHADOW}'
         GROUP BY c.name, c.version)
    INSERT INTO notice (id, kind, told) SELECT id, kind, told FROM found
    ON CONFLICT (id) DO NOTHING
    RETURNING kind, told
"""  # noqa: S608  # composed of constants
"""One notice for each tool, or version and reason, and hour: a storm is told as a storm. Nobody is
woken for the trials of the guards."""

_TAKE = """
    UPDATE notice
       SET tries = tries + 1,
           next_try = now() + least(interval '1 h', interval '10 s' * (2 ^ least(tries, 12)))
     WHERE id IN (SELECT id FROM notice
                   WHERE sent_at IS NULL AND next_try <= now()
                   ORDER BY since LIMIT 20 FOR UPDATE SKIP LOCKED)
 RETURNING id, kind, told, since
"""


class Due(NamedTuple):
    """A notice that nobody has been told of yet."""

    id: str
    kind: NoticeKind
    told: str
    since: datetime


async def collect() -> list[tuple[str, str]]:
    """Write down what needs a person and was not noticed yet; return each new (kind, sentence)."""
    return [tuple(row) for row in await hot().fetch(_COLLECT)]


async def take() -> list[Due]:
    """Notices to be sent now; whoever fails to send one finds it again later, and ever later."""
    return [Due(*row) for row in await hot().fetch(_TAKE)]


async def tell(connection: Any, notice: str, kind: NoticeKind, told: str) -> None:
    """Write one down, once for this id, in the transaction that `connection` is in."""
    await connection.execute(
        "INSERT INTO notice (id, kind, told) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
        notice,
        kind,
        told,
    )


async def sent(notice: str) -> None:
    await hot().execute("UPDATE notice SET sent_at = now() WHERE id = $1", notice)


async def latest(days: int) -> list[Any]:
    """What was noticed lately, newest first."""
    found: list[Any] = await hot().fetch(
        "SELECT * FROM notice WHERE since > now() - make_interval(days => $1) ORDER BY since DESC",
        days,
    )
    return found
