"""Doubts that end, or begin, without the run: late answers, and runs that are over."""

from typing import Any
from uuid import UUID

from models.database import hot
from models.review import Verdict
from models.verdict import GO_ON

LEAVE_IN_DOUBT = """
    UPDATE ledger_entry SET state = 'in_doubt'
     WHERE run_id = ANY($1::uuid[]) AND state = 'reserved' AND kind = 'call' AND effect <> 'read'
"""
"""For runs that somebody else than their worker has ended: a statement of its own after that one,
for an intent may have been committed since the other's snapshot was taken."""

_ASK_AFTER = """
    INSERT INTO review AS r (id, run_id, step, tenant, kind, question, proposal)
    SELECT gen_random_uuid(), e.run_id, e.step, run.tenant, 'in_doubt',
           e.tool || ' was sent and never answered, and its run is over (' || run.stop_reason
           || '). Did it happen? happened: with this result; did_not_happen; abandoned', e.args
      FROM ledger_entry e JOIN run ON run.id = e.run_id AND run.status = 'finished'
     WHERE e.state = 'in_doubt' AND coalesce(e.quiet_at, now()) <= now()
       AND NOT EXISTS (SELECT FROM review o
                        WHERE (o.run_id, o.step) = (e.run_id, e.step) AND o.verdict IS NULL)
     LIMIT 200
    ON CONFLICT (run_id, step, kind) DO UPDATE
       SET verdict = NULL, answer = NULL, decided_at = NULL, who = NULL, note = NULL,
           decide_by = NULL, question = EXCLUDED.question
     WHERE r.verdict IS NOT NULL
"""
"""Without an end: a doubt stays listed until a person has settled it."""


async def ask_after() -> None:
    """Ask a person about the writes that finished runs have left in doubt."""
    await hot().execute(_ASK_AFTER)


_OVERTAKE = """
    UPDATE review
       SET verdict = $3, answer = $4, who = 'its worker', note = 'the answer came late',
           decided_at = now()
     WHERE run_id = $1 AND step = $2 AND kind = 'in_doubt' AND verdict IS NULL
 RETURNING id
"""


async def overtake(
    connection: Any, run: UUID, step: str, verdict: Verdict, value: bytes | None
) -> None:
    """Withdraw the question about a write that has become known; its run goes on."""
    review = await connection.fetchval(_OVERTAKE, run, step, verdict, value)
    if review is not None:
        await connection.execute(GO_ON, run, review)
