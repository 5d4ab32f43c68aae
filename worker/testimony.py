"""Testimony: what became of a write, told by a worker that no longer holds the run."""

from collections.abc import Sequence

from models.database import hot
from models.doubt import overtake
from models.ledger import EntryState
from models.review import Verdict
from worker.checkpoint import Entry
from worker.overrun import alarm

_TESTIFY = """
    WITH locked AS (SELECT id FROM run WHERE id = $1 FOR NO KEY UPDATE),
    entry AS (
        UPDATE ledger_entry e
           SET state = $4, token = gen_random_uuid(), spent_usd = e.spent_usd + $5,
               reserved_usd = 0, result = $7, error = $8, settled_at = now()
          FROM locked
         WHERE e.run_id = locked.id AND e.step = $2 AND e.token = $3
           AND e.state IN ('reserved', 'in_doubt')
     RETURNING e.run_id),
    counted AS (
        UPDATE run SET spent_usd = run.spent_usd + $5, reserved_usd = run.reserved_usd - $6
          FROM entry WHERE run.id = entry.run_id)
    SELECT count(*) FROM entry
"""
"""No fence, for the attempt is over; the token is the proof instead: nobody has tried since. An
outcome that stands, or a newer try, is left alone. The new token tells whoever has read the old one
that this outcome is not its own."""

_VERDICTS = {
    EntryState.SETTLED: Verdict.EDITED,
    EntryState.RELEASED: Verdict.APPROVED,
    EntryState.REJECTED: Verdict.REJECTED,
}


async def testify(entries: Sequence[Entry]) -> list[BaseException | None]:
    """Accept late outcomes for entries that are still in doubt; a person need not be asked."""
    for each in entries:
        async with hot().acquire() as connection, connection.transaction():
            taken = await connection.fetchval(
                _TESTIFY,
                each.run_id,
                each.step,
                each.token,
                each.state,
                each.usd,
                each.release_usd,
                each.result,
                each.error,
            )
            if taken:
                await alarm(connection, [each])
                verdict = _VERDICTS[each.state]
                await overtake(connection, each.run_id, each.step, verdict, each.result)
    return [None] * len(entries)
