"""An intent: a write's row, committed before anything leaves."""

from collections.abc import Sequence

from models.database import hot
from models.gate import FLEET, POLICY, GateMode
from worker.checkpoint import FENCE, Entry, accounted, identity
from worker.outcome import GateShut

_INTEND = f"""
    WITH m AS (
        SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::int[], $5::text[], $6::text[],
                             $7::text[], $8::json[], $9::bytea[], $10::uuid[],
                             $11::numeric[], $12::bool[], $13::float[], $14::float[], $15::text[])
            AS m(run_id, attempt, step, number, kind, tool, effect, args, args_hash, token,
                 usd, fresh, send_within_s, quiet_within_s, needs)),
    {FENCE},
    shut AS MATERIALIZED (SELECT scope, mode FROM gate WHERE mode <> '{GateMode.OPEN}'),
    entry AS (
        INSERT INTO ledger_entry AS e (run_id, attempt, step, number, kind, tool, effect, args,
               args_hash, token, state, reserved_usd, send_before, quiet_at)
        SELECT run_id, attempt, step, number, kind, tool, effect, args,
               args_hash, token, 'reserved', usd, now() + make_interval(secs => send_within_s),
               now() + make_interval(secs => quiet_within_s)
          FROM m JOIN fence ON fence.id = m.run_id
         WHERE EXISTS (SELECT FROM gate WHERE scope = '{FLEET}')
           AND NOT EXISTS (
               SELECT FROM shut
                WHERE scope IN ('{FLEET}', '{POLICY}', 'tenant:' || fence.tenant,
                                'pipeline:' || fence.pipeline, 'tool:' || m.tool)
                  AND mode <> m.needs)
         ORDER BY run_id, step
        ON CONFLICT (run_id, step) DO UPDATE
           SET state = 'reserved', attempt = EXCLUDED.attempt, token = EXCLUDED.token,
               tries = e.tries + 1,
               send_before = greatest(e.send_before, EXCLUDED.send_before),
               quiet_at = greatest(e.quiet_at, EXCLUDED.quiet_at),
               reserved_usd = e.reserved_usd + EXCLUDED.reserved_usd, settled_at = NULL
         WHERE e.state IN ('reserved', 'released') AND e.token <> EXCLUDED.token
     RETURNING e.run_id, e.step),
    used AS (
        SELECT run_id, count(*) FILTER (WHERE fresh) AS steps, sum(usd) AS usd
          FROM entry JOIN m USING (run_id, step) GROUP BY run_id),
    counted AS (
        UPDATE run SET steps = run.steps + used.steps, calls = run.calls + used.steps,
                       reserved_usd = run.reserved_usd + used.usd
          FROM used WHERE run.id = used.run_id)
    SELECT run_id, step FROM entry
"""  # noqa: S608  # composed of constants
"""The gate is read in the statement that inserts: whoever shuts it under a table lock waits for
statements that saw it open, and those that come later see it shut. What needs `open` is kept out by
any mode that is not; what needs `read_only` by `closed` alone. An intent of an earlier try gives
way to the next one's; an outcome that stands does not. The deadlines only grow, for a try of a
worker that fell silent may have the later one."""

_SHUT_BY = f"""
    SELECT m.run_id, m.step, shut.scope, shut.mode
      FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS m(run_id, step, tool, needs)
      JOIN run ON run.id = m.run_id
      JOIN gate AS shut
        ON shut.scope IN ('{FLEET}', '{POLICY}', 'tenant:' || run.tenant,
                          'pipeline:' || run.pipeline, 'tool:' || m.tool)
       AND shut.mode NOT IN ('{GateMode.OPEN}', m.needs)
     ORDER BY m.run_id, m.step, shut.mode = '{GateMode.CLOSED}' DESC
"""  # noqa: S608  # composed of constants


async def intend(entries: Sequence[Entry]) -> list[BaseException | None]:
    """Commit what is about to be sent, its money and its deadline, in one transaction.

    GateShut for a run that is still ours: nothing of it was written or charged.
    """
    rows = await hot().fetch(
        _INTEND,
        *identity(entries),
        [each.token for each in entries],
        [each.usd for each in entries],
        [each.fresh for each in entries],
        [each.send_within_s for each in entries],
        [each.quiet_within_s for each in entries],
        [each.needs for each in entries],
    )
    answers = await accounted(entries, rows, refusal=GateShut)
    shut = [each for each, answer in zip(entries, answers, strict=True) if answer is not None]
    return await _explained(entries, answers) if shut else answers


async def _explained(
    entries: Sequence[Entry], answers: list[BaseException | None]
) -> list[BaseException | None]:
    """Say of each refusal whose gate it was; one that has been opened meanwhile is the fleet's."""
    rows = await hot().fetch(
        _SHUT_BY,
        [each.run_id for each in entries],
        [each.step for each in entries],
        [each.tool for each in entries],
        [each.needs for each in entries],
    )
    found = {(row["run_id"], row["step"]): row["scope"] for row in reversed(rows)}
    return [
        GateShut(found.get((each.run_id, each.step), FLEET), each.needs)
        if isinstance(answer, GateShut)
        else answer
        for each, answer in zip(entries, answers, strict=True)
    ]
