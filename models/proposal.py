"""A proposal: a call that its run does not make. A person's yes makes a request of it."""

import hashlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson

from models.budget import Budget
from models.database import hot
from models.identity import uuid7
from models.request_key import FINGERPRINT_VERSION, PROPOSAL_KEY, fingerprint

EXECUTE, VERSION = "execute-proposal", 1
"""The pipeline of such requests; every worker has it."""
BUDGET = Budget(steps=10, tool_calls=2)
"""The call, and the snapshot before it where its undo wants one."""
_WRITTEN_BUDGET = BUDGET.model_dump_json().encode()

_ADMIT = """
    WITH place AS (
        SELECT run.tenant, run.subject FROM review JOIN run ON run.id = review.run_id
         WHERE review.id = $1),
    fresh AS (
        INSERT INTO request_key (tenant, key, fingerprint, fingerprint_version, run_id)
        SELECT tenant, $2, $3, $4, $5 FROM place
        ON CONFLICT (tenant, key) DO NOTHING
        RETURNING run_id)
    INSERT INTO run (id, tenant, key, pipeline, version, input, subject, budget)
    SELECT fresh.run_id, tenant, $2, $6, $7, $8, subject, $9 FROM fresh, place
 RETURNING id
"""
"""On the same subject as the run that proposed it: what is done to it never overlaps."""

_SUBJECT = "SELECT subject FROM run WHERE id = (SELECT run_id FROM review WHERE id = $1)"

BECAME = f"""
    SELECT v.id, v.step, v.question, v.proposal, v.answer, v.note, v.who, v.asked_at, v.decide_by,
           v.use_by, e.tool, k.key, k.run_id, x.status, x.stop_reason,
           CASE v.verdict WHEN 'edited' THEN 'approved' ELSE coalesce(v.verdict, 'open') END
               AS state
      FROM review v
      JOIN ledger_entry e ON (e.run_id, e.step) = (v.run_id, v.step)
      LEFT JOIN request_key k ON (k.tenant, k.key) = (v.tenant, '{PROPOSAL_KEY}' || v.id)
      LEFT JOIN run x ON x.id = k.run_id
     WHERE v.run_id = $1 AND v.kind = 'proposal'
     ORDER BY e.number, v.step
"""  # noqa: S608  # a constant


def edited_hash(tool: str, written: bytes) -> bytes:
    """What stands for a person's own arguments of a call: of the very bytes that were kept."""
    return hashlib.sha256(b"edited\0" + tool.encode() + b"\0" + written).digest()


def key_of(review: UUID) -> str:
    """The idempotency key of the request that an approved proposal becomes."""
    return f"{PROPOSAL_KEY}{review}"


async def admit(connection: Any, review: UUID) -> UUID | None:
    """Make a request of an approved proposal, in the transaction of its verdict.

    Its run waits for the first worker that has the pipeline, should none have it yet. Return the
    run's id; None: a request of another kind has had this key for long.
    """
    subject = await connection.fetchval(_SUBJECT, review)
    given = {"proposal": str(review)}
    run_id: UUID | None = await connection.fetchval(
        _ADMIT, review, key_of(review), fingerprint(EXECUTE, subject, given), FINGERPRINT_VERSION,
        uuid7(), EXECUTE, VERSION, orjson.dumps(given), _WRITTEN_BUDGET,
    )  # fmt: skip
    return run_id


async def became(run: UUID) -> Sequence[Any]:
    """What a run has proposed, and what came of each: its state, and the request with its run."""
    rows: Sequence[Any] = await hot().fetch(BECAME, run)
    return rows
