"""A verdict on a review: given once, it settles the step that the review is about."""

from typing import Any
from uuid import UUID

import jsonschema_rs
import orjson

from models.database import hot
from models.ledger import EntryState
from models.proposal import admit, edited_hash, key_of
from models.request_key import canonical
from models.review import DoubtVerdict, ReviewKind, Verdict
from models.run import StopReason


class NotOpen(Exception):
    """The review was answered before, has expired, or never was."""


class BadAnswer(Exception):
    """The edited answer is not what the run can go on with."""


_TAKE = """
    UPDATE review
       SET verdict = $2, answer = $3, note = $4, who = $5, decided_at = now(),
           use_by = CASE WHEN kind IN ('approval', 'proposal') THEN now() + interval '1 day' END
     WHERE id = $1 AND verdict IS NULL AND (decide_by IS NULL OR decide_by > now())
 RETURNING id, run_id, step, kind, proposal
"""
"""Two people answering at once meet on the row; the second finds a verdict, and nothing to do."""

_LOCK_RUN = """
    SELECT FROM run WHERE id = (SELECT run_id FROM review WHERE id = $1) FOR NO KEY UPDATE
"""
"""First of all, like everybody who touches a run's steps and reviews: no two can deadlock."""

_CLOSE_STEP = """
    WITH open AS (
        SELECT run_id, step, reserved_usd FROM ledger_entry
         WHERE run_id = $1 AND step = $2
           AND state IN ('reserved', 'in_doubt', CASE WHEN $6 THEN 'released' END) FOR UPDATE),
    closed AS (
        UPDATE ledger_entry e
           SET state = $3, result = $4, error = $5, settled_at = now(), reserved_usd = 0,
               spent_usd = e.spent_usd + open.reserved_usd
          FROM open WHERE (e.run_id, e.step) = (open.run_id, open.step))
    UPDATE run
       SET reserved_usd = run.reserved_usd - open.reserved_usd,
           spent_usd = run.spent_usd + open.reserved_usd
      FROM open WHERE run.id = open.run_id
"""
"""What a doubtful call had reserved is charged: it may have been spent. A call that waits for its
approval has reserved nothing."""

_RELEASE_STEP = """
    WITH open AS (
        SELECT run_id, step, reserved_usd FROM ledger_entry
         WHERE run_id = $1 AND step = $2 AND state = 'in_doubt' FOR UPDATE),
    released AS (
        UPDATE ledger_entry e SET state = 'released', reserved_usd = 0
          FROM open WHERE (e.run_id, e.step) = (open.run_id, open.step))
    UPDATE run SET reserved_usd = run.reserved_usd - open.reserved_usd
      FROM open WHERE run.id = open.run_id
"""

_BEGIN_ANEW = """
    UPDATE ledger_entry SET created_at = now(), args = coalesce($3::json, args)
     WHERE run_id = $1 AND step = $2
"""
"""For how long a person took is not held against the call. Its arguments are a person's now, where
one has edited them; what the pipeline passed stays its hash."""

_HASH_ANEW = """
    UPDATE review SET args_hash = $2 WHERE id = $1
"""
_TOOL = "SELECT tool FROM ledger_entry WHERE run_id = $1 AND step = $2"

GO_ON = """
    UPDATE run
       SET status = 'queued', waiting_for = NULL, dispatch_at = now(), detail = NULL
     WHERE id = $1 AND status = 'waiting' AND waiting_for = 'review'
       AND NOT EXISTS (SELECT FROM review
                        WHERE review.run_id = run.id AND verdict IS NULL AND review.id <> $2
                          AND kind <> 'proposal')
"""
"""A run that asked several questions goes on when the last one is answered. For what it has
proposed it does not wait."""

_LATE = """
    SELECT id FROM review WHERE verdict IS NULL AND decide_by <= now() ORDER BY id LIMIT 200
"""

_EXPIRE = """
    UPDATE review SET verdict = 'expired', decided_at = now()
     WHERE id = $1 AND verdict IS NULL AND decide_by <= now()
 RETURNING id, run_id, step, kind, proposal
"""


_APPROVED = """
    SELECT count(*) FROM review r JOIN ledger_entry e USING (run_id, step)
     WHERE r.tenant = $1 AND r.kind = 'approval' AND r.verdict = 'approved' AND e.tool = $2
"""


async def answer(
    review: UUID,
    said: Verdict | DoubtVerdict,
    *,
    who: str,
    value: Any = None,
    note: str | None = None,
) -> UUID:
    """Give a verdict, settle the step it is about, and let the run go on; return the run's id.

    Of a review in doubt, EDITED says that it happened, with `value` as its result; APPROVED,
    that it did not and may be sent again; REJECTED gives up. DoubtVerdict says so in its words.
    Of an approval or a proposal, `value` are the arguments to use instead. A proposal that a
    person wants becomes a request in the same transaction; its own run has gone on long since.

    Raises:
        NotOpen: Somebody else answered, or it has expired.
        BadAnswer: `value` does not fit the review's answer_schema, or a verdict on a doubt was
            given where there is none; nothing was changed.
    """
    verdict = said.verdict if isinstance(said, DoubtVerdict) else said
    async with hot().acquire() as connection, connection.transaction():
        if verdict is Verdict.EDITED:
            schema = await connection.fetchval(
                "SELECT answer_schema FROM review WHERE id = $1", review
            )
            _check(value, schema)
        written = _written(value) if verdict is Verdict.EDITED else None
        await connection.execute(_LOCK_RUN, review)
        row = await connection.fetchrow(_TAKE, review, verdict, written, note, who)
        if row is None:
            raise NotOpen(f"review {review} is not open: answered already, expired, or unknown")
        if isinstance(said, DoubtVerdict) and row["kind"] != ReviewKind.IN_DOUBT:
            raise BadAnswer(
                f"{said} is said of a write in doubt; this is a question of another kind"
            )
        await _settle(connection, row, verdict, written, note)
        await connection.execute(GO_ON, row["run_id"], review)
    run_id: UUID = row["run_id"]
    return run_id


async def approved_calls(tenant: str, tool: str) -> int:
    """How many calls of a tool were approved for a tenant so far."""
    count: int = await hot().fetchval(_APPROVED, tenant, tool)
    return count


async def expire() -> int:
    """Deny what nobody answered in time; return how many reviews that were."""
    late = [row[0] for row in await hot().fetch(_LATE)]
    for review in late:
        async with hot().acquire() as connection, connection.transaction():
            await connection.execute(_LOCK_RUN, review)
            row = await connection.fetchrow(_EXPIRE, review)
            if row is not None:
                await _settle(connection, row, Verdict.EXPIRED, None, None)
                await connection.execute(GO_ON, row["run_id"], review)
    return len(late)


async def _settle(
    connection: Any, row: Any, verdict: Verdict, written: bytes | None, note: str | None
) -> None:
    doubtful = row["kind"] == ReviewKind.IN_DOUBT
    place = (row["run_id"], row["step"])
    of_call = row["kind"] in {ReviewKind.APPROVAL, ReviewKind.PROPOSAL}
    if of_call and verdict is Verdict.EDITED and written is not None:
        if row["kind"] == ReviewKind.APPROVAL:
            written += b"\n"  # a person's, even where a pipeline's bytes were the same
        digest = edited_hash(await connection.fetchval(_TOOL, *place) or "", written)
        await connection.execute(_HASH_ANEW, row["id"], digest)
    if row["kind"] == ReviewKind.PROPOSAL:
        await _become(connection, row["id"], verdict)
        return
    if doubtful and verdict is Verdict.APPROVED:
        await connection.execute(_RELEASE_STEP, *place)
        return
    approval = row["kind"] == ReviewKind.APPROVAL
    if approval and verdict in {Verdict.APPROVED, Verdict.EDITED}:
        await connection.execute(_BEGIN_ANEW, *place, written)
        return  # the call is yet to be made: its intent looks for this verdict
    if verdict in {Verdict.APPROVED, Verdict.EDITED}:
        result = row["proposal"] if verdict is Verdict.APPROVED else written
        await connection.execute(_CLOSE_STEP, *place, EntryState.SETTLED, result, None, approval)
        return
    reason = {Verdict.REJECTED: StopReason.REVIEW_REJECTED}.get(verdict, StopReason.REVIEW_EXPIRED)
    if doubtful:
        reason = StopReason.IN_DOUBT
    told = {"reason": reason, "message": note or f"a person's verdict: {verdict}"}
    outcome = (EntryState.REJECTED, None, orjson.dumps(told), approval)
    await connection.execute(_CLOSE_STEP, *place, *outcome)


async def _become(connection: Any, review: UUID, verdict: Verdict) -> None:
    """Its step is settled; a person's yes makes a request of it."""
    wanted = verdict in {Verdict.APPROVED, Verdict.EDITED}
    if wanted and await admit(connection, review) is None:
        told = f"its tenant has used the key {key_of(review)} for another request: reject it"
        raise BadAnswer(told)


def _written(value: Any) -> bytes:
    try:
        canonical(value)
        return orjson.dumps(value)
    except (TypeError, ValueError) as error:
        raise BadAnswer(f"this is no answer that can be kept: {error}") from None


def _check(value: Any, schema: bytes | None) -> None:
    if schema is None:
        return
    for fault in jsonschema_rs.validator_for(orjson.loads(schema)).iter_errors(value):
        pointer = "".join(f"/{part}" for part in fault.instance_path) or "/"
        raise BadAnswer(f"{pointer}: {fault.message}")
