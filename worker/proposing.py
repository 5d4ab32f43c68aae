"""Proposing: a call that is put to a person is written with its question, in one transaction.

The run goes on. What becomes of the proposal is another request's business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

import orjson

from models.columns import plain
from models.database import hot
from worker.checkpoint import FENCE, Entry, accounted, identity
from worker.outcome import Question


@dataclass(frozen=True, slots=True)
class Proposing:
    """A step, and what a person is asked about it; None: nothing."""

    entry: Entry
    question: Question | None


_PROPOSE = f"""
    WITH m AS (
        SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::int[], $5::text[], $6::text[],
                             $7::text[], $8::json[], $9::bytea[], $10::text[], $11::json[],
                             $12::uuid[], $13::text[], $14::json[], $15::json[], $16::uuid[],
                             $17::text[], $18::json[], $19::json[], $20::bytea[], $21::float[])
            AS m(run_id, attempt, step, number, kind, tool, effect, args, args_hash, policy, labels,
                 token, state, result, error, review, question, proposal, answer_schema, approves,
                 decide_s)),
    {FENCE},
    entry AS (
        INSERT INTO ledger_entry AS e (run_id, attempt, step, number, kind, tool, effect, args,
               args_hash, policy, labels, token, state, result, error, settled_at)
        SELECT run_id, attempt, step, number, kind, tool, effect, args,
               args_hash, policy, labels, token, state, result, error, now()
          FROM m JOIN fence ON fence.id = m.run_id
         ORDER BY run_id, step
        ON CONFLICT (run_id, step) DO UPDATE
           SET kind = EXCLUDED.kind, effect = EXCLUDED.effect, state = EXCLUDED.state,
               attempt = EXCLUDED.attempt, token = EXCLUDED.token, policy = EXCLUDED.policy,
               result = EXCLUDED.result, error = EXCLUDED.error, settled_at = now()
         WHERE e.state = 'released' AND e.token <> EXCLUDED.token
     RETURNING e.run_id, e.step, (xmax = 0) AS fresh),
    asked AS (
        INSERT INTO review (id, run_id, step, tenant, kind, question, proposal, answer_schema,
               args_hash, decide_by, verdict, decided_at, note)
        SELECT m.review, m.run_id, m.step, fence.tenant, 'proposal', m.question, m.proposal,
               m.answer_schema, m.approves, now() + make_interval(secs => m.decide_s),
               CASE WHEN fence.dry THEN 'withdrawn' END, CASE WHEN fence.dry THEN now() END,
               CASE WHEN fence.dry THEN 'a dry run asks nobody' END
          FROM entry JOIN m USING (run_id, step) JOIN fence ON fence.id = m.run_id
         WHERE m.review IS NOT NULL),
    used AS (SELECT run_id, count(*) AS steps FROM entry WHERE fresh GROUP BY run_id),
    counted AS (
        UPDATE run SET steps = run.steps + used.steps, calls = run.calls + used.steps
          FROM used WHERE run.id = used.run_id)
    SELECT run_id, step FROM entry
"""  # noqa: S608  # composed of constants
"""A step stands once, and so does its question. What was surely not sent may still be put aside.
What a dry run would do is listed with it, and nobody is asked: a yes would be no dry run's."""


def id_of(run: UUID, step: str) -> UUID:
    """The proposal that a step makes: the same on every replay, whoever asks."""
    return uuid5(run, f"proposal/{step}")


async def propose(proposings: Sequence[Proposing]) -> list[BaseException | None]:
    """Write steps with their questions: each with its own, or not at all."""
    entries = [each.entry for each in proposings]
    asked = [each.question for each in proposings]
    rows = await hot().fetch(
        _PROPOSE,
        *identity(entries),
        [each.token for each in entries],
        [each.state for each in entries],
        [each.result for each in entries],
        [each.error for each in entries],
        [id_of(e.run_id, e.step) if q else None for e, q in zip(entries, asked, strict=True)],
        [q and plain(q.text) for q in asked],
        [q and q.proposal for q in asked],
        [q and orjson.dumps(q.answer_schema) for q in asked],
        [q and q.approves for q in asked],
        [q and q.decide_within.total_seconds() for q in asked],
    )
    return await accounted(entries, rows)
