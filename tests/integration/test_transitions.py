"""Runs and steps change only as they may; what is refused pages, and nothing goes in circles."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from models import cancel, notice
from models.database import hot
from models.ledger import EntryState
from models.run import RunStatus
from models.transition import OF_RUNS, OF_STEPS, REFUSED
from tests.conftest import as_if, expire_lease, reload, sweep, until
from tests.integration.test_checkpoint import entry
from worker.checkpoint import record
from worker.claim import Claims
from worker.journal import Journal
from worker.sweeper import Sweeper

_AS = """
    UPDATE run SET status = $2::text, worker = $3, lease_expires_at = now() + interval '1 h',
           dispatch_at = now(), waiting_for = 'tool',
           stop_reason = CASE $2 WHEN 'finished' THEN 'success' END
     WHERE id = $1
"""


async def refusal_of(statement, *values):
    """The SQLSTATE with which the database refuses it; None: it does not."""
    try:
        await hot().execute(statement, *values)
    except asyncpg.PostgresError as error:
        return error.sqlstate
    return None


@pytest.mark.parametrize("was", RunStatus)
async def test_a_run_changes_only_along_its_arrows(submit, was):
    run = await submit("noop", {})
    for now in RunStatus:
        await as_if(_AS, run, was, uuid4())
        legal = now in OF_RUNS[was] or now is was

        assert await refusal_of(_AS, run, now, uuid4()) == (None if legal else REFUSED)
        assert (await reload(run))["status"] == (now if legal else was)


@pytest.mark.parametrize("was", EntryState)
async def test_a_step_that_has_an_outcome_keeps_it(submit, was):
    run = await submit("noop", {})
    await as_if(_AS, run, "running", uuid4())
    assert await record([entry(run, attempt=0)]) == [None]
    for now in EntryState:
        await as_if("UPDATE ledger_entry SET state = $1", was)
        legal = now in OF_STEPS[was] or now is was

        refused = await refusal_of("UPDATE ledger_entry SET state = $1", now)
        assert refused == (None if legal else REFUSED)


async def some_refusal(run):
    """What the database says when a run that waits is to run."""
    await as_if(_AS, run, "waiting", uuid4())
    with pytest.raises(asyncpg.PostgresError) as told:
        await hot().execute(_AS, run, "running", uuid4())
    await as_if(_AS, run, "queued", uuid4())
    return told.value


async def test_a_workers_refused_transition_pages_and_ends_with_its_crashes(
    submit, attempt, monkeypatch
):
    run = await submit("noop", {})
    refusal = await some_refusal(run)

    async def leave(self, departures):
        return [refusal for _ in departures]

    monkeypatch.setattr(Journal, "_leave", leave)
    for _ in range(2):
        held = await attempt(run)
        assert not held.lost, "whoever is lost is adopted at once, and refused again"
        await expire_lease(run)
        await sweep(crash_limit=2)

    assert (await reload(run))["stop_reason"] == "crashes_exhausted"
    (told,) = [each for each in await notice.latest(1) if each["kind"] == "transition"]
    assert f"what is waiting may not become running (run {run})" in told["told"]


async def test_a_sweepers_refused_transition_pages_and_the_worker_lives_on(submit, monkeypatch):
    run = await submit("noop", {})
    await as_if(_AS, run, "finished", uuid4())
    wrong = "UPDATE run SET status = 'queued', stop_reason = NULL RETURNING id"
    monkeypatch.setattr(cancel, "_LEFT", wrong)
    sweeper = Sweeper(uuid4(), crash_limit=3, heartbeat_s=3, wake=lambda: None)

    task = asyncio.create_task(sweeper.run())
    found = await until(lambda: notice.latest(1))
    monkeypatch.undo()
    await until(lambda: hot().fetchval("SELECT count(*) = 1 FROM notice"))

    assert not task.done()
    task.cancel()
    assert [each["kind"] for each in found] == ["transition"]
    assert (await reload(run))["status"] == "finished"
    assert await Claims(uuid4(), [("noop", 1)], 9).take(5, held={}) == []
