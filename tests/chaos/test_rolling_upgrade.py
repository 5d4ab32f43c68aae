"""Releases beside each other: old workers and new ones, and a schema from the future.

This module is the new release's catalogue too: it has a second version of one pipeline.
"""

import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import Popen
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from config import embedded
from models import migrate
from models.admission import Admission
from models.database import close_database, dsn, hot, open_database
from models.request import Request
from tests.chaos.orders import Load, all_over, history, order, straight_in, wrongs
from tests.conftest import Fleet, finished, fleet_of, until
from tests.desk import Desk, started_desk
from tests.desk_pipelines import Filed, Order, create_once
from worker.flow import Flow
from worker.pipeline import Catalogue, pipeline

NAME = "file-ticket-once"
OLD, NEW = "tests.desk_pipelines", "tests.chaos.test_rolling_upgrade"
IN_HAND = """
    SELECT count(*) FROM run JOIN worker w ON w.id = run.worker WHERE w.pid = $1 AND version = $2
"""
FUTURE = """
    ALTER TABLE run ADD COLUMN mood text NOT NULL DEFAULT 'fine', ADD COLUMN colour text;
    CREATE TABLE weather (at timestamptz PRIMARY KEY);
    CREATE INDEX run_mood ON run (mood);
    UPDATE alembic_version SET version_num = '9999';
"""


@pipeline(NAME, version=2, tools=[create_once])
async def file_ticket_once(flow: Flow, given: Order) -> Filed:
    """As the first version, but the last reference goes first, and the title says so."""
    opened = [
        await flow.call(f"backwards-{ref}", create_once, external_ref=ref, title="version 2")
        for ref in reversed(given.refs())
    ]
    return Filed(tickets=[each.id for each in opened])


PIPELINES: Catalogue = {(NAME, 2): file_ticket_once}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with started_desk(tmp_path / "desk", dedupe=True, latency_s=0.1) as desk:
        yield desk


@pytest.fixture
def load() -> Iterator[Load]:
    """Orders for the one pipeline that has two versions."""
    send = straight_in()
    load = Load(lambda request: send(replace(request, pipeline=NAME)), steps=25, pause_s=0.15)
    yield load
    load.drop()


async def start(fleet: Fleet, desk: Desk, *catalogues: str) -> "Popen[bytes]":
    """A worker of a release; it is there when this returns."""
    known = await hot().fetchval("SELECT count(*) FROM worker")
    listed = ", ".join(f'"{each}"' for each in catalogues)
    worker = fleet.start("worker", WORKER__CATALOGUES=f"[{listed}]", TEST_DESK_URL=desk.url)
    await until(lambda: hot().fetchval("SELECT count(*) > $1 FROM worker", known))
    return worker


async def runs_of(version: int) -> list[Any]:
    return list(
        await hot().fetch(
            "SELECT status, attempt, crashes, bugs FROM run WHERE version = $1", version
        )
    )


async def under_way(worker: "Popen[bytes]", version: int) -> int:
    """How many runs of a version this worker has in hand."""
    return int(await hot().fetchval(IN_HAND, worker.pid, version))


async def each_did_its_own_versions_work(load: Load, desk: Desk) -> None:
    assert wrongs(await history(), desk.record) == []
    rows = {row["key"]: row["version"] for row in await history()}
    told = {t.external_ref.split("/")[0]: t.title == "version 2" for t in desk.record.tickets()}
    assert told == {key: version == 2 for key, version in rows.items()}
    crashed = await hot().fetchval("SELECT sum(crashes + bugs) FROM run")
    assert (len(rows), crashed) == (len(load.sent), 0)


async def test_a_release_rolls_over_a_busy_fleet_and_every_run_keeps_its_version(
    database, fleet, desk, load
):
    old = await start(fleet, desk, OLD)

    load.begin("rolled")
    await until(lambda: under_way(old, 1))
    new = await start(fleet, desk, OLD, NEW)
    await until(lambda: under_way(new, 2))
    assert await under_way(old, 1), "the old one was done too soon to hand anything over"
    old.send_signal(signal.SIGTERM)
    code = old.wait(20)
    await load.end()
    await until(lambda: all_over(load))

    assert code == 0
    assert any(row["attempt"] > 1 for row in await runs_of(1)), "nothing was handed over"
    await each_did_its_own_versions_work(load, desk)


@pytest.mark.long
async def test_runs_of_a_version_that_nobody_has_wait_untouched_until_somebody_comes(
    database, fleet, desk, load
):
    new = await start(fleet, desk, NEW)
    new.send_signal(signal.SIGTERM)
    new.wait(20)
    await ask(load, *(f"for-the-new-{n}" for n in range(5)))  # nobody lives: the newest ever
    await start(fleet, desk, OLD)
    await ask(load, *(f"for-the-old-{n}" for n in range(5)))

    await until(lambda: hot().fetchval("SELECT count(finished_at) = 5 FROM run"))
    waiting = await runs_of(2)
    assert {tuple(row) for row in waiting} == {("queued", 0, 0, 0)}
    assert len(waiting) == 5

    await start(fleet, desk, OLD, NEW)
    await until(lambda: all_over(load))
    await each_did_its_own_versions_work(load, desk)


async def ask(load: Load, *keys: str) -> None:
    """As a face of its own would, that has remembered nothing of who lives."""
    admit = Admission(patience_s=2)
    for key in keys:
        request = order(key, NAME, steps=2)
        load.sent.append(request)
        await admit(request)


@pytest.fixture
async def own_database(servers: embedded.Servers) -> AsyncIterator[str]:
    """One whose schema may be spoilt."""
    admin = await asyncpg.connect(dsn(servers.database_url))
    name = f"upgraded_{uuid4().hex[:8]}"
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    url = servers.database_url.replace("@/postgres?", f"@/{name}?")
    await migrate.upgrade(url)
    await open_database(url)
    yield url
    await close_database()


@pytest.mark.long
async def test_workers_go_on_and_start_anew_on_a_newer_schema_and_refuse_an_older_one(
    own_database, tmp_path
):
    with fleet_of(own_database, None, tmp_path) as fleet:
        running = fleet.start("worker")
        await until(lambda: hot().fetchval("SELECT count(*) FROM worker"))
        await hot().execute(FUTURE)
        admit = Admission(patience_s=2)
        for number in range(20):
            await admit(Request("acme", f"k{number}", "five-writes", {"n": number}))
        await until(lambda: finished(20))
        fleet.start("worker")
        await until(lambda: hot().fetchval("SELECT count(*) = 2 FROM worker"))

        await hot().execute("UPDATE alembic_version SET version_num = '0001'")
        refused = fleet.start("worker")
        code = refused.wait(20)

        assert running.poll() is None
        assert code != 0
        assert "run `sluice db upgrade`" in fleet.logs()
    assert await hot().fetchval("SELECT count(*) FROM run WHERE stop_reason = 'success'") == 20
