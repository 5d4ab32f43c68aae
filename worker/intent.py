"""An intent: a write's row, committed before anything leaves."""

from collections.abc import Sequence

from models.database import hot
from models.gate import FLEET, GateMode
from worker.checkpoint import FENCE, Entry, accounted, identity
from worker.outcome import GateShut

_INTEND = f"""
    WITH m AS (
        SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::int[], $5::text[], $6::text[],
                             $7::text[], $8::json[], $9::bytea[], $10::uuid[],
                             $11::numeric[], $12::bool[], $13::float[], $14::float[])
            AS m(run_id, attempt, step, number, kind, tool, effect, args, args_hash, token,
                 usd, fresh, send_within_s, quiet_within_s)),
    {FENCE},
    entry AS (
        INSERT INTO ledger_entry AS e (run_id, attempt, step, number, kind, tool, effect, args,
               args_hash, token, state, reserved_usd, send_before, quiet_at)
        SELECT run_id, attempt, step, number, kind, tool, effect, args,
               args_hash, token, 'reserved', usd, now() + make_interval(secs => send_within_s),
               now() + make_interval(secs => quiet_within_s)
          FROM m JOIN fence ON fence.id = m.run_id
                 JOIN gate ON gate.scope = '{FLEET}' AND gate.mode = '{GateMode.OPEN}'
         ORDER BY run_id, step
        ON CONFLICT (run_id, step) DO UPDATE
           SET state = 'reserved', attempt = EXCLUDED.attempt, token = EXCLUDED.token,
               tries = e.tries + 1, send_before = EXCLUDED.send_before,
               quiet_at = EXCLUDED.quiet_at,
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
statements that saw it open, and those that come later see it shut. An intent of an earlier try
gives way to the next one's; an outcome that stands does not."""


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
    )
    return await accounted(entries, rows, refusal=GateShut)
