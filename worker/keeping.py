"""Keeping: what a run remembers is written with the step that does so, in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from models.database import hot
from models.gate import GateMode
from models.memory import within
from models.scope import FLEET, POLICY
from worker.checkpoint import FENCE, Entry, accounted, identity
from worker.intent import explained
from worker.outcome import GateShut


@dataclass(frozen=True, slots=True)
class Keeping:
    """Something to be remembered, and its step."""

    entry: Entry
    scope: str
    key: str
    value: bytes
    labels: bytes
    ttl_s: float
    withheld: bool = False
    """The step alone: its run may write nothing."""


class Wanted(NamedTuple):
    """What somebody wants to recall."""

    tenant: str
    """The run's own, as it was claimed."""
    scope: str
    key: str


class Found(NamedTuple):
    value: bytes
    labels: bytes


_STEP = f"""
    WITH m AS (
        SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::int[], $5::text[], $6::text[],
                             $7::text[], $8::json[], $9::bytea[], $10::text[], $11::json[],
                             $12::uuid[])
            AS m(run_id, attempt, step, number, kind, tool, effect, args, args_hash, policy, labels,
                 token)),
    {FENCE},
    shut AS MATERIALIZED (SELECT scope FROM gate WHERE mode <> '{GateMode.OPEN}'),
    entry AS (
        INSERT INTO ledger_entry (run_id, attempt, step, number, kind, tool, effect, args,
               args_hash, policy, labels, token, state, result, settled_at)
        SELECT run_id, attempt, step, number, kind, tool, effect, args,
               args_hash, policy, labels, token, 'settled', 'null', now()
          FROM m JOIN fence ON fence.id = m.run_id
         WHERE EXISTS (SELECT FROM gate WHERE scope = '{FLEET}')
           AND NOT EXISTS (
               SELECT FROM shut
                WHERE scope IN ('{FLEET}', '{POLICY}', 'tenant:' || fence.tenant,
                                'pipeline:' || fence.pipeline))
         ORDER BY run_id, step
        ON CONFLICT (run_id, step) DO NOTHING
     RETURNING run_id, step),
    used AS (SELECT run_id, count(*) AS steps FROM entry GROUP BY run_id),
    counted AS (
        UPDATE run SET steps = run.steps + used.steps FROM used WHERE run.id = used.run_id)
    SELECT entry.run_id, entry.step, fence.tenant, fence.pipeline
      FROM entry JOIN fence ON fence.id = entry.run_id
"""  # noqa: S608  # composed of constants
"""The gate is read first, and its table is held until the commit: who shuts it waits for what has
seen it open. A step that stands already is nobody's to write again, and so is what it kept."""

_KEEP = """
    INSERT INTO memory AS m (tenant, scope, key, value, labels, run_id, step, pipeline, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now() + make_interval(secs => $9))
    ON CONFLICT (tenant, scope, key) DO UPDATE
       SET value = EXCLUDED.value, labels = EXCLUDED.labels, run_id = EXCLUDED.run_id,
           step = EXCLUDED.step, pipeline = EXCLUDED.pipeline, written_at = now(),
           expires_at = EXCLUDED.expires_at,
           writes = CASE WHEN m.expires_at > now() THEN m.writes ELSE 0 END + 1
"""
_FIND = """
    SELECT value, labels FROM memory
     WHERE tenant = $1 AND scope = $2 AND key = $3 AND expires_at > now()
"""


async def keep_safe(keepings: Sequence[Keeping]) -> list[BaseException | None]:
    """Write steps and what they remember, all of it in one transaction: each once, or not at all.

    GateShut for a run that is still ours: nothing of it was written.
    """
    entries = [each.entry for each in keepings]
    async with hot().acquire() as connection, connection.transaction():
        rows = await connection.fetch(_STEP, *identity(entries), [each.token for each in entries])
        written = {(row["run_id"], row["step"]): row for row in rows}
        await _keep(connection, keepings, written)
    answers = await accounted(entries, list(written), refusal=GateShut)
    if any(isinstance(each, GateShut) for each in answers):
        return await explained(entries, answers)
    return answers


async def _keep(
    connection: Any, keepings: Sequence[Keeping], written: dict[tuple[UUID, str], Any]
) -> None:
    """In one order for every batch, so that two of them never wait for each other."""
    taken = [
        (written[each.entry.run_id, each.entry.step], each)
        for each in keepings
        if (each.entry.run_id, each.entry.step) in written and not each.withheld
    ]
    for row, each in sorted(taken, key=lambda one: (one[0]["tenant"], one[1].scope, one[1].key)):
        tenant, step = row["tenant"], (row["run_id"], row["step"], row["pipeline"])
        async with within(connection, tenant):
            await connection.execute(
                _KEEP, tenant, each.scope, each.key, each.value, each.labels, *step, each.ttl_s
            )


async def find(wanted: Sequence[Wanted]) -> list[Found | None]:
    """What is remembered and has not expired, for each who asked."""
    found: list[Found | None] = []
    async with hot().acquire() as connection, connection.transaction():
        for each in wanted:
            async with within(connection, each.tenant):
                row = await connection.fetchrow(_FIND, *each)
            found.append(None if row is None else Found(*row))
    return found
