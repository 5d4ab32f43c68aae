"""Parking: a run leaves its worker until a person has answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from models.autonomy import LOWER, Autonomy
from models.columns import plain
from models.database import hot
from models.identity import uuid7
from models.ledger import EntryState
from models.review import ReviewKind
from worker.outcome import LostLease, Question


@dataclass(frozen=True, slots=True)
class Parking:
    """A run and everything it asks at once."""

    run_id: UUID
    attempt: int
    tenant: str
    active_s: float
    questions: Sequence[Question]
    token: UUID
    policy: str
    """The revision in force."""
    level: Autonomy = Autonomy.ACT
    """What the attempt was allowed when it ended."""


_PARK = f"""
    WITH m AS (
        SELECT * FROM unnest($1::uuid[], $2::int[], $3::float[], $4::text[], $5::int[], $6::int[],
                             $7::text[])
            AS m(run_id, attempt, active_s, detail, asked, calls, level)),
    fence AS (
        SELECT run.id FROM run JOIN m ON (run.id, run.attempt) = (m.run_id, m.attempt)
         WHERE run.status = 'running' ORDER BY run.id FOR NO KEY UPDATE OF run)
    UPDATE run
       SET status = 'waiting', waiting_for = 'review', dispatch_at = NULL, worker = NULL,
           lease_expires_at = NULL, active_s = m.active_s, detail = m.detail,
           steps = run.steps + m.asked, calls = run.calls + m.calls,
           level = {LOWER}
      FROM m JOIN fence ON fence.id = m.run_id
     WHERE run.id = m.run_id
 RETURNING run.id
"""  # noqa: S608  # composed of constants

_ASK = """
    WITH q AS (
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[],
                             $6::text[], $7::json[], $8::json[], $9::bytea[], $10::float[])
            AS q(id, run_id, step, tenant, kind, question, proposal, answer_schema, args_hash,
                 decide_s))
    INSERT INTO review AS r (id, run_id, step, tenant, kind, question, proposal, answer_schema,
           args_hash, decide_by)
    SELECT id, run_id, step, tenant, kind, question, proposal, answer_schema, args_hash,
           now() + make_interval(secs => decide_s)
      FROM q
     WHERE kind <> 'in_doubt'
        OR NOT EXISTS (SELECT FROM ledger_entry e
                        WHERE (e.run_id, e.step) = (q.run_id, q.step)
                          AND e.state NOT IN ('reserved', 'in_doubt'))
    ON CONFLICT (run_id, step, kind) DO UPDATE
       SET id = EXCLUDED.id, verdict = NULL, answer = NULL, decided_at = NULL, who = NULL,
           note = NULL, question = EXCLUDED.question, decide_by = EXCLUDED.decide_by,
           proposal = EXCLUDED.proposal, answer_schema = EXCLUDED.answer_schema,
           args_hash = EXCLUDED.args_hash, use_by = NULL,
           used_at = NULL
     WHERE r.kind IN ('in_doubt', 'approval') AND r.verdict IS NOT NULL
"""
"""A write can be in doubt a second time, and an approval can have grown too old; every other
question is asked once. Asked anew it has a new id, for whoever answers the old one has not seen
this one. A doubt that a late answer has ended meanwhile is no question any more."""

_RESERVE = """
    INSERT INTO ledger_entry AS e
           (run_id, attempt, step, number, kind, args_hash, token, state, tool, effect, args,
            labels, policy, tries)
    SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::int[], $5::text[],
                         $6::bytea[], $7::uuid[], $8::text[], $9::text[], $10::text[],
                         $11::json[], $12::json[], $13::text[], $14::int[])
    ON CONFLICT (run_id, step) DO UPDATE SET state = EXCLUDED.state
     WHERE e.state = 'reserved' AND EXCLUDED.state = 'in_doubt'
"""


_NOTHING_TO_ASK = """
    UPDATE run SET status = 'queued', waiting_for = NULL, dispatch_at = now(), detail = NULL
     WHERE id = ANY($1::uuid[]) AND status = 'waiting' AND waiting_for = 'review'
       AND NOT EXISTS (SELECT FROM review WHERE review.run_id = run.id AND verdict IS NULL
                          AND kind <> 'proposal')
"""


_STATES = {
    ReviewKind.UNCERTAIN: EntryState.RESERVED,
    ReviewKind.IN_DOUBT: EntryState.IN_DOUBT,
    ReviewKind.APPROVAL: EntryState.RELEASED,  # surely not sent
    ReviewKind.GAP: EntryState.RESERVED,
}
_ASKS = frozenset({ReviewKind.UNCERTAIN, ReviewKind.GAP})
"""Of a step that is nothing but this question."""


async def park(parkings: Sequence[Parking]) -> list[BaseException | None]:
    """Park runs with their questions, each run with all of them or none, in one transaction."""
    async with hot().acquire() as connection, connection.transaction():
        rows = await connection.fetch(
            _PARK,
            [each.run_id for each in parkings],
            [each.attempt for each in parkings],
            [each.active_s for each in parkings],
            [plain("; ".join(q.text for q in each.questions), 500) for each in parkings],
            [sum(q.fresh for q in each.questions) for each in parkings],
            [
                sum(q.fresh for q in each.questions if q.kind is ReviewKind.APPROVAL)
                for each in parkings
            ],
            [each.level for each in parkings],
        )
        parked = {row[0] for row in rows}
        asked = [(each, q) for each in parkings if each.run_id in parked for q in each.questions]
        await _ask(connection, asked)
        await connection.execute(_NOTHING_TO_ASK, list(parked))
    return [None if each.run_id in parked else LostLease() for each in parkings]


async def _ask(connection: Any, asked: Sequence[tuple[Parking, Question]]) -> None:
    """The reviews, and the ledger's rows of what they are about."""
    await connection.execute(
        _ASK,
        [uuid7() for _ in asked],
        [each.run_id for each, _ in asked],
        [q.step for _, q in asked],
        [each.tenant for each, _ in asked],
        [q.kind for _, q in asked],
        [plain(q.text) for _, q in asked],
        [q.proposal for _, q in asked],
        [orjson.dumps(q.answer_schema) for _, q in asked],
        [q.approves for _, q in asked],
        [q.decide_within.total_seconds() for _, q in asked],
    )
    await connection.execute(
        _RESERVE,
        [each.run_id for each, _ in asked],
        [each.attempt for each, _ in asked],
        [q.step for _, q in asked],
        [q.number for _, q in asked],
        ["ask" if q.kind in _ASKS else "call" for _, q in asked],
        [q.args_hash for _, q in asked],
        [each.token for each, _ in asked],
        [_STATES[q.kind] for _, q in asked],
        [q.tool for _, q in asked],
        [q.effect for _, q in asked],
        [q.args for _, q in asked],
        [q.labels for _, q in asked],
        [each.policy for each, _ in asked],
        [int(q.kind is not ReviewKind.APPROVAL) for _, q in asked],
    )
