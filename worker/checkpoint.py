"""A checkpoint: a step's intent and outcome, written under the run's fence, many at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from models.database import hot
from models.gate import GateMode
from models.ledger import EntryState, StepKind
from worker.outcome import LostLease, Overtaken
from worker.overrun import alarm
from worker.warrant import Warrant

NOTHING = Decimal(0)


@dataclass(slots=True)  # frozen would cost more than all the rest of making one
class Entry:
    """One step's row, on its way into the ledger."""

    run_id: UUID
    attempt: int
    step: str
    number: int
    kind: StepKind
    args_hash: bytes
    token: UUID
    state: EntryState
    tool: str | None = None
    effect: str | None = None
    args: bytes | None = None
    usd: Decimal = NOTHING
    """Reserved by an intent, spent by an outcome."""
    release_usd: Decimal = NOTHING
    """An outcome: what its intent had reserved."""
    tokens: int = 0
    result: bytes | None = None
    error: bytes | None = None
    tries: int = 1
    fresh: bool = True
    """The step is new: it counts against the budget of steps and calls."""
    send_within_s: float = 0.0
    quiet_within_s: float = 0.0
    """An intent: how long its request may start to leave, and how long it may be under way."""
    needs: GateMode = GateMode.OPEN
    """An intent: the strictest mode of the gate in which it may be written."""
    tenant_usd: Decimal | None = None
    fleet_usd: Decimal | None = None
    """A paid intent: the ceilings of its day's windows."""
    policy: str = ""
    """The revision that judged it."""
    labels: bytes | None = None
    """Where its arguments come from, by JSON pointer."""
    warrant: Warrant | None = None
    """An intent that a person must have approved: what, and where that stands."""


FENCE = """
    fence AS (
        SELECT run.id, run.tenant, run.pipeline, run.autonomy IS NOT NULL AS dry FROM run
         WHERE (run.id, run.attempt) IN (SELECT m.run_id, m.attempt FROM m)
           AND run.status = 'running'
         ORDER BY run.id FOR NO KEY UPDATE)
"""
"""Locks the runs, in one order for every batch, and keeps only those whose latest attempt is
ours. A plain SELECT would be no fence: a new claim could commit while our insert is open."""

_RECORD = f"""
    WITH m AS (
        SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::int[], $5::text[], $6::text[],
                             $7::text[], $8::json[], $9::bytea[], $10::text[], $11::json[],
                             $12::uuid[], $13::text[], $14::numeric[], $15::int[], $16::json[],
                             $17::json[], $18::int[])
            AS m(run_id, attempt, step, number, kind, tool, effect, args, args_hash, policy, labels,
                 token, state, usd, tokens, result, error, tries)),
    {FENCE},
    entry AS (
        INSERT INTO ledger_entry AS e (run_id, attempt, step, number, kind, tool, effect, args,
               args_hash, policy, labels, token, state, spent_usd, spend_day, tokens, result, error,
               tries, settled_at)
        SELECT run_id, attempt, step, number, kind, tool, effect, args,
               args_hash, policy, labels, token, state, usd,
               CASE WHEN usd > 0 THEN spend_day() END, tokens, result, error, tries, now()
          FROM m JOIN fence ON fence.id = m.run_id
         ORDER BY run_id, step
        ON CONFLICT (run_id, step) DO UPDATE
           SET state = EXCLUDED.state, attempt = EXCLUDED.attempt, token = EXCLUDED.token,
               policy = EXCLUDED.policy, spent_usd = e.spent_usd + EXCLUDED.spent_usd,
               spend_day = coalesce(EXCLUDED.spend_day, e.spend_day),
               tries = e.tries + EXCLUDED.tries, tokens = e.tokens + EXCLUDED.tokens,
               result = EXCLUDED.result, error = EXCLUDED.error, settled_at = now()
         WHERE e.state = 'released' AND e.token <> EXCLUDED.token
     RETURNING e.run_id, e.step, (xmax = 0) AS fresh),
    used AS (
        SELECT run_id, count(*) FILTER (WHERE fresh) AS steps, sum(tokens) AS tokens,
               count(*) FILTER (WHERE fresh AND kind = 'call') AS calls, sum(usd) AS usd
          FROM entry JOIN m USING (run_id, step) GROUP BY run_id),
    counted AS (
        UPDATE run SET steps = run.steps + used.steps, calls = run.calls + used.calls,
                       tokens = run.tokens + used.tokens, spent_usd = run.spent_usd + used.usd
          FROM used WHERE run.id = used.run_id)
    SELECT run_id, step FROM entry
"""  # noqa: S608  # composed of constants

_SETTLE = f"""
    WITH m AS (
        SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::uuid[], $5::text[],
                             $6::numeric[], $7::numeric[], $8::int[], $9::json[], $10::json[])
            AS m(run_id, attempt, step, token, state, usd, release_usd, tokens, result, error)),
    {FENCE},
    entry AS (
        UPDATE ledger_entry e
           SET state = m.state, spent_usd = e.spent_usd + m.usd, reserved_usd = 0,
               tokens = e.tokens + m.tokens, result = m.result, error = m.error,
               settled_at = now()
          FROM m JOIN fence ON fence.id = m.run_id
         WHERE (e.run_id, e.step) = (m.run_id, m.step)
           AND e.token = m.token AND e.state = 'reserved'
     RETURNING e.run_id, e.step, m.usd, m.release_usd, m.tokens),
    used AS (
        SELECT run_id, sum(usd) AS usd, sum(release_usd) AS release_usd, sum(tokens) AS tokens
          FROM entry GROUP BY run_id),
    counted AS (
        UPDATE run SET spent_usd = run.spent_usd + used.usd, tokens = run.tokens + used.tokens,
                       reserved_usd = run.reserved_usd - used.release_usd
          FROM used
         WHERE run.id = used.run_id
           AND (used.usd <> 0 OR used.release_usd <> 0 OR used.tokens <> 0))
    SELECT run_id, step FROM entry
"""  # noqa: S608  # composed of constants
"""A late outcome of an earlier try carries an earlier token and changes nothing."""

_OURS = """
    SELECT run.id, m.step, e.token = m.token AND e.state = m.state AS written,
           run.status = 'running' AND run.attempt = m.attempt AS held,
           coalesce(e.state IN ('settled', 'rejected', 'undone'), false) AS final
      FROM unnest($1::uuid[], $2::int[], $3::text[], $4::uuid[], $5::text[])
           AS m(run_id, attempt, step, token, state)
      JOIN run ON run.id = m.run_id
      LEFT JOIN ledger_entry e ON (e.run_id, e.step) = (m.run_id, m.step)
"""


async def record(entries: Sequence[Entry]) -> list[BaseException | None]:
    """Write steps that needed no intent (reads, decisions) as done, in one statement."""
    rows = await _booked(
        _RECORD,
        entries,
        *identity(entries),
        [each.token for each in entries],
        [each.state for each in entries],
        [each.usd for each in entries],
        [each.tokens for each in entries],
        [each.result for each in entries],
        [each.error for each in entries],
        [each.tries for each in entries],
    )
    return await accounted(entries, rows)


async def settle(entries: Sequence[Entry]) -> list[BaseException | None]:
    """Write the outcome of reserved steps, and what they cost, in one transaction."""
    rows = await _booked(
        _SETTLE,
        entries,
        [each.run_id for each in entries],
        [each.attempt for each in entries],
        [each.step for each in entries],
        [each.token for each in entries],
        [each.state for each in entries],
        [each.usd for each in entries],
        [each.release_usd for each in entries],
        [each.tokens for each in entries],
        [each.result for each in entries],
        [each.error for each in entries],
    )
    return await accounted(entries, rows)


async def _booked(statement: str, entries: Sequence[Entry], *columns: Any) -> Sequence[Any]:
    """Run a statement that books costs; overruns are told in its transaction."""
    if all(each.usd <= each.release_usd for each in entries):
        rows: Sequence[Any] = await hot().fetch(statement, *columns)
        return rows
    async with hot().acquire() as connection, connection.transaction():
        rows = await connection.fetch(statement, *columns)
        taken = {tuple(row) for row in rows}
        overrun = [each for each in entries if (each.run_id, each.step) in taken]
        await alarm(connection, overrun)
    return rows


async def accounted(
    entries: Sequence[Entry],
    rows: Sequence[Any],
    *,
    refusal: type[BaseException] | None = None,
) -> list[BaseException | None]:
    """Say for each entry whether it stands in the ledger.

    One that this flush did not write is ours all the same when its token is there already: an
    earlier flush wrote it, and never heard of its commit. Overtaken, when somebody else's outcome
    stands there. `refusal` is the answer for a run that is held still, but its entry not taken.
    """
    if len(rows) == len(entries):
        return [None] * len(entries)
    written = {tuple(row) for row in rows}
    missing = [each for each in entries if (each.run_id, each.step) not in written]
    found = await hot().fetch(
        _OURS,
        [each.run_id for each in missing],
        [each.attempt for each in missing],
        [each.step for each in missing],
        [each.token for each in missing],
        [each.state for each in missing],
    )
    there = {(row["id"], row["step"]) for row in found if row["written"]}
    held = {row["id"] for row in found if row["held"]}
    final = {(row["id"], row["step"]) for row in found if row["final"] and row["held"]}
    answers: list[BaseException | None] = []
    for each in entries:
        if (place := (each.run_id, each.step)) in written or place in there:
            answers.append(None)
        elif place in final:
            answers.append(Overtaken())
        elif each.run_id in held and refusal is not None:
            answers.append(refusal())
        else:
            answers.append(LostLease())
    return answers


def identity(entries: Sequence[Entry]) -> list[list[object]]:
    """The first eleven columns of every statement that writes a step's row."""
    return [
        [each.run_id for each in entries],
        [each.attempt for each in entries],
        [each.step for each in entries],
        [each.number for each in entries],
        [each.kind for each in entries],
        [each.tool for each in entries],
        [each.effect for each in entries],
        [each.args for each in entries],
        [each.args_hash for each in entries],
        [each.policy for each in entries],
        [each.labels for each in entries],
    ]
