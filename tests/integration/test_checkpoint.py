"""Checkpoints: fenced, counted once, and recognised when their commit was not acknowledged."""

from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from models.database import hot
from models.ledger import EntryState, StepKind
from models.run import RunStatus, StopReason
from tests.conftest import reload
from worker.checkpoint import Entry, record, settle
from worker.departure import Departure, leave
from worker.intent import intend
from worker.outcome import GateShut, LostLease


async def held(submit, attempt_no=1):
    """A run in somebody's hands."""
    run = await submit("noop", {})
    await hot().execute(
        "UPDATE run SET status = 'running', worker = gen_random_uuid(), attempt = $2,"
        " lease_expires_at = now() + interval '9 s' WHERE id = $1",
        run,
        attempt_no,
    )
    return run


def entry(run, *, step="s", attempt=1, state=EntryState.SETTLED, **more):
    return Entry(
        run_id=run,
        attempt=attempt,
        step=step,
        number=1,
        kind=StepKind.CALL,
        args_hash=b"h",
        token=more.pop("token", None) or uuid4(),
        state=state,
        result=more.pop("result", b"{}"),
        **more,
    )


async def test_a_flush_repeated_after_a_lost_commit_knows_its_own_rows_and_counts_them_once(submit):
    run = await held(submit)
    read = entry(run, step="read")
    write = entry(run, step="write", state=EntryState.RESERVED, usd=Decimal("0.10"))
    outcome = entry(
        run, step="write", token=write.token, usd=Decimal("0.07"), release_usd=Decimal("0.10")
    )

    answers = [
        await verb([each])
        for verb, each in (
            (record, read), (record, read), (intend, write), (intend, write),
            (settle, outcome), (settle, outcome),
        )
    ]  # fmt: skip

    row = await reload(run)
    assert answers == [[None]] * 6
    assert (row["steps"], row["calls"]) == (2, 2)
    assert (row["spent_usd"], row["reserved_usd"]) == (Decimal("0.07"), 0)


@pytest.mark.parametrize("verb", [record, intend, settle])
async def test_an_earlier_attempt_writes_nothing(submit, verb):
    run = await held(submit, attempt_no=2)

    (answer,) = await verb([entry(run, attempt=1)])

    assert isinstance(answer, LostLease)
    assert await hot().fetchval("SELECT count(*) FROM ledger_entry") == 0
    assert (await reload(run))["steps"] == 0


async def test_in_one_batch_the_fenced_one_is_refused_and_the_others_are_written(submit):
    mine, lost = await held(submit), await held(submit, attempt_no=3)

    answers = await record([entry(lost), entry(mine)])

    assert [type(each) for each in answers] == [LostLease, type(None)]
    assert await hot().fetchval("SELECT run_id FROM ledger_entry") == mine


async def test_a_late_outcome_of_an_earlier_try_changes_nothing(submit):
    run = await held(submit)
    first = entry(run, state=EntryState.RESERVED)
    second = entry(run, state=EntryState.RESERVED, fresh=False)
    await intend([first])
    await intend([second])

    (late,) = await settle([entry(run, token=first.token)])
    (answer,) = await settle([entry(run, token=second.token)])

    assert isinstance(late, LostLease)
    assert answer is None
    assert (await reload(run))["steps"] == 1


async def test_an_intent_behind_a_shut_gate_leaves_nothing_behind(submit):
    run = await held(submit)
    await hot().execute("UPDATE gate SET mode = 'read_only'")

    (answer,) = await intend([entry(run, state=EntryState.RESERVED, usd=Decimal("0.10"))])

    assert isinstance(answer, GateShut)
    row = await reload(run)
    assert (row["steps"], row["reserved_usd"]) == (0, 0)
    assert await hot().fetchval("SELECT count(*) FROM ledger_entry") == 0


async def test_without_a_gate_row_nothing_is_admitted(submit):
    run = await held(submit)
    await hot().execute("DELETE FROM gate")

    try:
        (answer,) = await intend([entry(run, state=EntryState.RESERVED)])
    finally:
        await hot().execute("INSERT INTO gate (scope, mode) VALUES ('fleet', 'open')")

    assert isinstance(answer, GateShut)


async def test_a_departure_is_taken_once_and_only_from_the_latest_attempt(submit):
    run = await held(submit, attempt_no=2)

    def departure(attempt):
        return Departure(run, attempt, RunStatus.FINISHED, 0.5, stop_reason=StopReason.SUCCESS)

    zombie = await leave([departure(1)])
    first = await leave([departure(2)])

    assert isinstance(zombie[0], LostLease)
    assert first == [None]
    assert (await reload(run))["finished_at"] - (await reload(run))["created_at"] < timedelta(5)


async def test_the_deadlines_of_an_entry_only_grow(submit):
    run = await held(submit)
    first = entry(run, state=EntryState.RESERVED, send_within_s=60.0, quiet_within_s=90.0)
    second = entry(run, state=EntryState.RESERVED, send_within_s=1.0, quiet_within_s=2.0)
    await intend([first])
    long = await hot().fetchrow("SELECT send_before, quiet_at FROM ledger_entry")

    await intend([second])

    row = await hot().fetchrow("SELECT tries, send_before, quiet_at FROM ledger_entry")
    assert (row["tries"], row["send_before"], row["quiet_at"]) == (2, *long)
