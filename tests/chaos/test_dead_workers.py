"""Workers that die, freeze, or are told to go."""

import asyncio
import os
import signal
import time
from collections import Counter
from contextlib import closing

import pytest
import redis

from models.database import hot
from tests.conftest import expire_lease, finished, fleet_of, sweep, until

TICKET = "ticket-triage"


async def submit_tickets(submit, count):
    return [
        await submit(TICKET, {"id": f"T-{i}", "text": f"Where is my parcel {i}?"}, key=f"k{i}")
        for i in range(count)
    ]


async def touched():
    """How many tickets the desk has, and the most writes that arrived for one."""
    row = await hot().fetchrow("SELECT count(*), max(writes) FROM desk_ticket")
    return tuple(row)


async def test_a_killed_workers_runs_are_finished_by_another_within_a_lease(submit, fleet):
    first, _ = fleet.workers(2, WORKER__ROOM="32")
    await until(lambda: hot().fetchval("SELECT count(*) = 2 FROM worker"))
    for n in range(40):
        await submit("wait", {"seconds": 3}, key=f"w{n}")
    await until(lambda: hot().fetchval("SELECT count(*) = 40 FROM run WHERE status = 'running'"))

    os.kill(first.pid, signal.SIGKILL)
    killed = time.monotonic()
    dead = await hot().fetchval("SELECT id FROM worker WHERE pid = $1", first.pid)
    await until(lambda: nobody_waits_for(dead))
    took = time.monotonic() - killed
    await until(lambda: finished(40), within_s=20)

    rows = await hot().fetch("SELECT stop_reason, attempt, crashes FROM run")
    assert {row["stop_reason"] for row in rows} == {"success"}
    assert {(row["attempt"], row["crashes"]) for row in rows} <= {(1, 0), (2, 1)}
    assert sum(row["crashes"] for row in rows) > 0, "the kill hit nothing"
    assert took < 9 + 2, f"a lease of 9 s, and two to notice; it took {took:.1f} s"


async def nobody_waits_for(worker):
    """Whether every run that it held has been claimed by another, or is over."""
    return not await hot().fetchval(
        "SELECT count(*) FROM run WHERE status <> 'finished' AND (worker IS NULL OR worker = $1)",
        worker,
    )


async def test_a_frozen_worker_that_wakes_after_its_lease_changes_nothing(submit, fleet):
    frozen = fleet.workers(1, WORKER__LEASE_S="3", WORKER__HEARTBEAT_S="1")[0]
    await until(lambda: hot().fetchval("SELECT count(*) FROM worker"))
    run = await submit("wait", {"seconds": 1})
    await until(lambda: hot().fetchval("SELECT count(*) = 1 FROM run WHERE status = 'running'"))

    os.kill(frozen.pid, signal.SIGSTOP)
    fleet.workers(1, WORKER__LEASE_S="3", WORKER__HEARTBEAT_S="1")
    await until(lambda: finished(1))
    before = await hot().fetchrow("SELECT * FROM run WHERE id = $1", run)
    os.kill(frozen.pid, signal.SIGCONT)
    await until(lambda: _logged(fleet, "run.lost_lease", "run.lease_ran_out", "run.escaped"))

    assert dict(await hot().fetchrow("SELECT * FROM run WHERE id = $1", run)) == dict(before)
    assert (before["attempt"], before["crashes"]) == (2, 1)
    assert frozen.poll() is None, "a worker that lost its lease goes on with other runs"


async def _logged(fleet, *events):
    return any(event in fleet.logs() for event in events)


async def test_a_worker_told_to_go_finishes_what_it_can_and_burns_nothing(submit, fleet):
    leaving = fleet.workers(1, WORKER__GRACE_S="4")[0]
    await until(lambda: hot().fetchval("SELECT count(*) FROM worker"))
    short = [await submit("wait", {"seconds": 1}) for _ in range(5)]
    long = [await submit("wait", {"seconds": 25}) for _ in range(3)]
    await until(lambda: hot().fetchval("SELECT count(*) = 8 FROM run WHERE status = 'running'"))

    leaving.send_signal(signal.SIGTERM)
    code = leaving.wait(20)

    rows = {row["id"]: row for row in await hot().fetch("SELECT * FROM run")}
    assert code == 0, fleet.logs()[-2000:]
    assert {rows[each]["status"] for each in short} == {"finished"}
    assert {(rows[each]["status"], rows[each]["crashes"]) for each in long} == {("queued", 0)}
    assert all(rows[each]["worker"] is None for each in long)
    assert await hot().fetchval("SELECT count(*) FROM worker") == 0


async def test_without_a_broker_everything_works_and_waits_a_tenth_of_a_second(
    submit, database, tmp_path
):
    """The proof that the broker is a doorbell: no broker, no loss, a little latency."""
    with fleet_of(database, None, tmp_path) as fleet:
        fleet.workers(2)
        await until(lambda: hot().fetchval("SELECT count(*) = 2 FROM worker"))

        await submit_tickets(submit, 200)
        await until(lambda: finished(200))
        lone = await submit("noop", {})
        await until(lambda: finished(201))

    assert await touched() == (200, 1)
    waited = await hot().fetchval(
        "SELECT extract(epoch FROM started_at - created_at) FROM run WHERE id = $1", lone
    )
    assert waited < 0.5


async def test_a_broker_that_answers_but_refuses_writes_ends_no_worker(submit, fleet, redis_url):
    worker = fleet.workers(1)[0]
    await until(lambda: hot().fetchval("SELECT count(*) = 1 FROM worker"))
    socket = redis_url.split("://", 1)[1].split("?")[0]
    with closing(redis.Redis(unix_socket_path=socket)) as broker:
        broker.config_set("min-replicas-to-write", 1)
        try:
            with pytest.raises(redis.ResponseError, match="NOREPLICAS"):
                broker.lpush("sluice.bells", b"anything")
            await submit_tickets(submit, 20)
            await until(lambda: finished(20))
            await asyncio.sleep(3)  # kombu restores, polls and acks in the meantime
        finally:
            broker.config_set("min-replicas-to-write", 0)
    await submit("noop", {})
    await until(lambda: finished(21))

    assert worker.poll() is None, fleet.logs()[-3000:]


async def test_eight_workers_racing_for_the_same_runs_execute_each_once(submit, fleet):
    fleet.workers(8, WORKER__ROOM="16", WORKER__CONNECTIONS="3")
    await until(lambda: hot().fetchval("SELECT count(*) = 8 FROM worker"), within_s=60)

    await submit_tickets(submit, 500)
    await until(lambda: finished(500), within_s=60)

    assert await touched() == (500, 1)
    assert await hot().fetchval("SELECT max(attempt) FROM run") == 1


async def test_every_worker_killed_again_and_again_still_writes_each_ticket_once(submit, fleet):
    runs = 300
    quick = {"WORKER__LEASE_S": "1.5", "WORKER__HEARTBEAT_S": "0.5", "WORKER__CRASH_LIMIT": "50"}
    await submit_tickets(submit, runs)
    kills = 0
    for _ in range(3):
        victims = fleet.workers(2, WORKER__ROOM="24", **quick)
        await until(lambda: hot().fetchval("SELECT count(*) FROM run WHERE status = 'running'"))
        for victim in victims:
            os.kill(victim.pid, signal.SIGKILL)
            kills += 1
    held = await hot().fetchval("SELECT count(*) FROM run WHERE status = 'running'")

    fleet.workers(2, **quick)
    await until(lambda: finished(runs), within_s=60)

    reasons = Counter(row[0] for row in await hot().fetch("SELECT stop_reason FROM run"))
    assert reasons == {"success": runs}
    assert held > 0, "the kills hit nothing"
    tickets, _ = await touched()
    assert tickets == runs, "one ticket for each, whatever was sent twice"
    assert kills == 6


async def test_a_lease_that_ran_out_is_not_reaped_twice(submit, database):
    run = await submit("noop", {})
    await hot().execute(
        "UPDATE run SET status = 'running', worker = gen_random_uuid(), attempt = 1,"
        " lease_expires_at = now() + interval '9 s' WHERE id = $1",
        run,
    )
    await expire_lease(run)

    assert [await sweep() for _ in range(2)] == [1, 0]
