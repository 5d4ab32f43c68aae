"""An intent: a write's row, committed before anything leaves."""

from collections.abc import Sequence

from models.database import hot
from models.gate import GateMode
from models.scope import FLEET, POLICY
from models.spend import Used, open_windows, used_today
from worker.checkpoint import FENCE, Entry, accounted, identity
from worker.outcome import GateShut, OutOfFunds, Unapproved
from worker.warrant import NONE, turns

_WINDOWS = f"""
    windows AS MATERIALIZED (
        SELECT scope, reserved + spent AS used FROM spend
         WHERE day = spend_day()
           AND scope = ANY (ARRAY(
               SELECT '{FLEET}' UNION ALL SELECT 'tenant:' || tenant FROM fence))
         ORDER BY scope <> '{FLEET}', scope FOR UPDATE),
    payable AS MATERIALIZED (
        SELECT m.run_id, m.step,
               f.used + sum(m.usd) OVER (ORDER BY m.run_id, m.step) AS of_fleet,
               t.used + sum(m.usd) OVER (PARTITION BY fence.tenant ORDER BY m.run_id, m.step)
                   AS of_tenant
          FROM m JOIN fence ON fence.id = m.run_id
                 JOIN windows AS f ON f.scope = '{FLEET}'
                 JOIN windows AS t ON t.scope = 'tenant:' || fence.tenant
         WHERE m.usd > 0),
"""  # noqa: S608  # composed of constants
"""Today's windows, locked after the runs and before the ledger, the fleet's first: whoever comes
second sees what the first has reserved. (Which windows is an array on purpose: whoever has waited
for a row looks at it again, and at that second look a join with `fence` is empty.) A window that
has no row yet admits nothing. Of one batch those that come first are paid first; one that was
refused may push others out until it is tried again, and never lets anybody over the ceiling."""

_PAYABLE = """
           AND (m.usd = 0 OR EXISTS (
               SELECT FROM payable p
                WHERE (p.run_id, p.step) = (m.run_id, m.step)
                  AND p.of_fleet <= coalesce(m.fleet_usd, 'infinity')
                  AND p.of_tenant <= coalesce(m.tenant_usd, 'infinity')))
"""


_WARRANTS = """
    warrant AS MATERIALIZED (
        SELECT * FROM review
         WHERE id = ANY ($21::uuid[]) AND kind = 'proposal' ORDER BY id FOR UPDATE),
"""
"""The proposals that are carried out, locked after the runs and the windows: of two runs that want
to carry out one of them, the second sees that the first has."""

_ALLOWS = """r.verdict IN ('approved', 'edited')
                  AND r.args_hash = m.approval AND r.use_by > now()"""
_APPROVED = f"""
           AND (m.approval IS NULL OR EXISTS (
               SELECT FROM review r
                WHERE m.proposal IS NULL
                  AND (r.run_id, r.step, r.kind) = (m.run_id, m.step, 'approval')
                  AND {_ALLOWS})
               OR EXISTS (
               SELECT FROM warrant r
                WHERE r.id = m.proposal AND r.tenant = fence.tenant
                  AND {_ALLOWS}
                  AND coalesce(r.used_by, m.run_id) = m.run_id))
"""  # noqa: S608  # composed of constants
_USED_UP = """
    approval AS (
        UPDATE review r SET used_at = coalesce(r.used_at, now())
          FROM entry JOIN m USING (run_id, step)
         WHERE m.approval IS NOT NULL AND m.proposal IS NULL
           AND (r.run_id, r.step, r.kind) = (m.run_id, m.step, 'approval')),
    carried_out AS (
        UPDATE review r SET used_at = coalesce(r.used_at, now()), used_by = m.run_id
          FROM entry JOIN m USING (run_id, step) WHERE r.id = m.proposal),
"""
"""An approval is of one step with one set of arguments, and a step is done once: no other call can
use it; a proposal's is of one run, the first to use it. What was surely not sent may be sent under
it again, as long as it is not too old."""


def _members(*, asked: bool) -> str:
    more, named = ", $20::bytea[], $21::uuid[], $22::text[]", ", approval, proposal, behalf"
    more, named = (more, named) if asked else ("", "")
    return f"""
        SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::int[], $5::text[], $6::text[],
                             $7::text[], $8::json[], $9::bytea[], $10::text[], $11::json[],
                             $12::uuid[], $13::numeric[], $14::bool[], $15::float[], $16::float[],
                             $17::text[], $18::numeric[], $19::numeric[]{more})
            AS m(run_id, attempt, step, number, kind, tool, effect, args, args_hash, policy, labels,
                 token, usd, fresh, send_within_s, quiet_within_s, needs, tenant_usd, fleet_usd
                 {named})),
"""  # noqa: S608  # composed of constants


def _intend(*, paid: bool, asked: bool) -> str:
    """Without a paid member it does not look at windows, without an asked one not at reviews."""
    return f"""
    WITH m AS ({_members(asked=asked)}
    {FENCE},
    shut AS MATERIALIZED (SELECT scope, mode FROM gate WHERE mode <> '{GateMode.OPEN}'),
    {_WINDOWS if paid else ""}
    {_WARRANTS if asked else ""}
    entry AS (
        INSERT INTO ledger_entry AS e (run_id, attempt, step, number, kind, tool, effect, args,
               args_hash, policy, labels, token, state, reserved_usd, spend_day, send_before,
               quiet_at)
        SELECT run_id, attempt, step, number, kind, tool, effect, args,
               args_hash, policy, labels, token, 'reserved', usd,
               CASE WHEN usd > 0 THEN spend_day() END,
               now() + make_interval(secs => send_within_s),
               now() + make_interval(secs => quiet_within_s)
          FROM m JOIN fence ON fence.id = m.run_id
         WHERE EXISTS (SELECT FROM gate WHERE scope = '{FLEET}')
           AND NOT EXISTS (
               SELECT FROM shut
                WHERE scope IN ('{FLEET}', '{POLICY}', 'tenant:' || fence.tenant,
                                'pipeline:' || fence.pipeline, 'tool:' || m.tool
                                {", 'pipeline:' || m.behalf" if asked else ""})
                  AND mode <> m.needs)
           {_PAYABLE if paid else ""}
           {_APPROVED if asked else ""}
         ORDER BY run_id, step
        ON CONFLICT (run_id, step) DO UPDATE
           SET state = 'reserved', attempt = EXCLUDED.attempt, token = EXCLUDED.token,
               policy = EXCLUDED.policy, tries = e.tries + 1,
               {"args = EXCLUDED.args, labels = EXCLUDED.labels," if asked else ""}
               send_before = greatest(e.send_before, EXCLUDED.send_before),
               quiet_at = greatest(e.quiet_at, EXCLUDED.quiet_at),
               spend_day = CASE WHEN e.reserved_usd > 0 THEN e.spend_day
                           ELSE EXCLUDED.spend_day END,
               reserved_usd = e.reserved_usd + EXCLUDED.reserved_usd, settled_at = NULL
         WHERE e.state IN ('reserved', 'released') AND e.token <> EXCLUDED.token
     RETURNING e.run_id, e.step),
    {_USED_UP if asked else ""}
    used AS (
        SELECT run_id, count(*) FILTER (WHERE fresh) AS steps, sum(usd) AS usd
          FROM entry JOIN m USING (run_id, step) GROUP BY run_id),
    counted AS (
        UPDATE run SET steps = run.steps + used.steps, calls = run.calls + used.steps,
                       reserved_usd = run.reserved_usd + used.usd
          FROM used WHERE run.id = used.run_id)
    SELECT run_id, step FROM entry
"""  # noqa: S608  # composed of constants


_INTEND, _INTEND_PAID = _intend(paid=False, asked=False), _intend(paid=True, asked=False)
_INTEND_ASKED, _INTEND_BOTH = _intend(paid=False, asked=True), _intend(paid=True, asked=True)
"""The gate is read in the statement that inserts: whoever shuts it under a table lock waits for
statements that saw it open, and those that come later see it shut. What needs `open` is kept out by
any mode that is not; what needs `read_only` by `closed` alone. An intent of an earlier try gives
way to the next one's; an outcome that stands does not. The deadlines only grow, for a try of a
worker that fell silent may have the later one."""

_SHUT_BY = f"""
    SELECT m.run_id, m.step, shut.scope, shut.mode
      FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
           AS m(run_id, step, tool, needs, behalf)
      JOIN run ON run.id = m.run_id
      JOIN gate AS shut
        ON shut.scope IN ('{FLEET}', '{POLICY}', 'tenant:' || run.tenant,
                          'pipeline:' || run.pipeline, 'pipeline:' || m.behalf, 'tool:' || m.tool)
       AND shut.mode NOT IN ('{GateMode.OPEN}', m.needs)
     ORDER BY m.run_id, m.step, shut.mode = '{GateMode.CLOSED}' DESC
"""  # noqa: S608  # composed of constants


async def intend(entries: Sequence[Entry]) -> list[BaseException | None]:
    """Commit what is about to be sent, its money and its deadline, in one transaction.

    GateShut, OutOfFunds, Unapproved: the run is still ours, nothing of it was written or charged.
    """
    said: dict[int, BaseException | None] = {}
    for places in turns([each.warrant for each in entries]):
        said |= zip(places, await _commit([entries[each] for each in places]), strict=True)
    return [said[place] for place in sorted(said)]


async def _commit(entries: Sequence[Entry]) -> list[BaseException | None]:
    paid = any(each.usd for each in entries)
    answers = await _flush(entries, paid=paid)
    if not any(isinstance(each, GateShut) for each in answers):
        return answers
    if paid:  # perhaps nobody has opened today's windows yet
        await open_windows([each.run_id for each in entries if each.usd])
        answers = await _flush(entries, paid=True)
    return await explained(entries, answers)


async def _flush(entries: Sequence[Entry], *, paid: bool) -> list[BaseException | None]:
    statement, more = _INTEND_PAID if paid else _INTEND, []
    if any(each.warrant is not None for each in entries):
        statement = _INTEND_BOTH if paid else _INTEND_ASKED
        warrants = [each.warrant or NONE for each in entries]
        more = [list(column) for column in zip(*warrants, strict=True)]
    rows = await hot().fetch(
        statement,
        *identity(entries),
        [each.token for each in entries],
        [each.usd for each in entries],
        [each.fresh for each in entries],
        [each.send_within_s for each in entries],
        [each.quiet_within_s for each in entries],
        [each.needs for each in entries],
        [each.tenant_usd for each in entries],
        [each.fleet_usd for each in entries],
        *more,
    )
    return await accounted(entries, rows, refusal=GateShut)


async def explained(
    entries: Sequence[Entry], answers: list[BaseException | None]
) -> list[BaseException | None]:
    """Say of each refusal whose gate it was, or which ceiling; where it is neither any more, it
    may be tried again at once, as if the fleet's gate had just been opened."""
    rows = await hot().fetch(
        _SHUT_BY,
        [each.run_id for each in entries],
        [each.step for each in entries],
        [each.tool for each in entries],
        [each.needs for each in entries],
        [(each.warrant or NONE).behalf for each in entries],
    )
    shut = {(row["run_id"], row["step"]): row["scope"] for row in reversed(rows)}
    used = await used_today([each.run_id for each in entries if each.usd])
    return [
        _reason(each, shut.get((each.run_id, each.step)), used.get(each.run_id))
        if isinstance(answer, GateShut)
        else answer
        for each, answer in zip(entries, answers, strict=True)
    ]


def _reason(entry: Entry, scope: str | None, used: Used | None) -> BaseException:
    if scope is None and used is not None:
        told = [
            f"{entry.usd} USD more would break the {ceiling} USD a day of {whom} ({so_far} used)"
            for whom, ceiling, so_far in (
                ("its tenant", entry.tenant_usd, used.tenant),
                ("the fleet", entry.fleet_usd, used.fleet),
            )
            if ceiling is not None
        ]
        if told:
            return OutOfFunds(" or ".join(told))
    if scope is None and entry.warrant is not None:
        return Unapproved()
    return GateShut(scope or FLEET, entry.needs)
