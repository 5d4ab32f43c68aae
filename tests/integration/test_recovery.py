"""Recovery: who may take a run from a silent worker, and when."""

from uuid import uuid4

import pytest

from models.database import hot
from tests.conftest import CATALOGUE, expire_lease, finished, reload, sweep, until
from worker.claim import Claims
from worker.sweeper import Sweeper

BEAT_S = 3.0


async def held(run, *, lease_s=9):
    """As if some worker had claimed the run and gone silent; return the worker."""
    claims = Claims(uuid4(), list(CATALOGUE), lease_s)
    assert [each.id for each in await claims.take(1, held={})] == [run]
    await expire_lease(run)
    return claims


@pytest.fixture
async def sweeper(database):
    """One that is alive, whose history each test gives it."""
    worker = uuid4()
    await hot().execute(
        "INSERT INTO worker (id, host, pid, runs) VALUES ($1, 'here', 1, '[]')", worker
    )
    return Sweeper(worker, crash_limit=3, heartbeat_s=BEAT_S, wake=lambda: None)


@pytest.mark.parametrize(
    ("steady_s", "silent_s", "reaped"),
    [
        (60, 0, 1),  # in ordinary times
        (2 * BEAT_S - 1, 0, 0),  # just started, or just after an outage
        (60, 2 * BEAT_S + 1, 0),  # nobody heard of it: the outage is not over, or just now
        (60, -5, 0),  # seen in the future: the clock has jumped back
    ],
)
async def test_only_who_was_seen_without_a_gap_takes_runs_from_others(
    submit, sweeper, steady_s, silent_s, reaped
):
    run = await submit("noop", {})
    await held(run)
    await hot().execute(
        "UPDATE worker SET steady_since = now() - make_interval(secs => $1),"
        " last_seen = now() - make_interval(secs => $2)",
        float(steady_s),
        float(silent_s),
    )

    assert await sweeper.sweep() == reaped
    assert (await reload(run))["crashes"] == reaped


async def test_a_lease_from_before_the_clock_jumped_back_is_not_waited_for(submit):
    run = await submit("noop", {})
    await held(run)
    await hot().execute("UPDATE run SET lease_expires_at = now() + interval '2 h'")

    assert await sweep() == 1


async def test_what_was_due_before_the_clock_jumped_back_stays_due(submit, fleet):
    fleet.workers(1, WORKER__LEASE_S="3", WORKER__HEARTBEAT_S="1")
    await until(lambda: hot().fetchval("SELECT count(*) FROM worker"))
    async with hot().acquire() as connection, connection.transaction():
        await connection.execute("UPDATE worker SET last_seen = now() + interval '1 h'")
        await connection.execute(
            "INSERT INTO run (id, tenant, key, pipeline, version, input, budget, dispatch_at)"
            " SELECT gen_random_uuid(), 'acme', 'k', name, version, '{}', budget,"
            " now() + interval '1 h' FROM contract WHERE name = 'noop'"
        )

    await until(lambda: finished(1))

    assert "heartbeat.clock_jumped_back" in fleet.logs()


async def test_what_a_worker_let_go_it_claims_again_as_a_new_attempt(submit, attempt):
    """Its old life may have written steps, and may have a write under way."""
    run = await submit("five-writes", {})
    claims = await held(run)

    (again,) = await claims.adopt([])

    row = await reload(run)
    assert (again.id, again.attempt) == (run, 2)
    assert (row["attempt"], row["crashes"], row["status"]) == (2, 0, "running")
    assert await claims.adopt([run]) == []
    assert await Claims(uuid4(), list(CATALOGUE), 9).adopt([]) == []
