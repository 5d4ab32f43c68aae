"""Lost servers: PostgreSQL away, the broker wiped, and workers killed at the worst time."""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from uuid import uuid4

import asyncpg
import pytest

from config import embedded
from models import migrate
from models.database import close_database, dsn, hot, open_database
from models.tenant import create_key
from tests.conftest import Fleet, finished, fleet_of, until
from tests.service import Shop, redis_of

COUNT, KILLS = 1000, 3
OUTAGE_S = float(os.environ.get("SLUICE_TEST_OUTAGE_S", "6"))
"""The promise was judged with 30."""


@dataclass
class OwnPostgres:
    """A server that no other test needs."""

    folder: Path
    url: str

    async def stop(self) -> None:
        await asyncio.to_thread(embedded.stop, self.folder)

    async def start(self) -> None:
        await asyncio.to_thread(embedded.start, self.folder)


@pytest.fixture
async def postgres(
    servers: embedded.Servers, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[OwnPostgres]:
    monkeypatch.setenv("SLUICE_EMBEDDED_REDIS", "off")
    root = Path(tempfile.mkdtemp(prefix="sluice-lost-"))
    root.chmod(0o755)
    try:
        url = (await asyncio.to_thread(embedded.start, root / "data")).database_url
        await migrate.upgrade(url)
        yield OwnPostgres(root / "data", url)
    finally:
        await asyncio.to_thread(embedded.stop, root / "data")
        shutil.rmtree(root, ignore_errors=True)


@pytest.mark.parametrize("broker", ["redis", pytest.param("rabbitmq", marks=pytest.mark.long)])
async def test_a_thousand_submissions_outlive_a_lost_postgres_and_killed_workers(
    broker, request, postgres, tmp_path
):
    url = request.getfixturevalue("redis_url" if broker == "redis" else "rabbitmq")
    url = url if isinstance(url, str) else url.url
    queue = f"submissions-{uuid4()}"
    await open_database(postgres.url)
    shop = Shop(url, await create_key("acme"), queue=queue)
    await close_database()
    with fleet_of(postgres.url, url, tmp_path) as fleet:
        first, survivor = start(fleet, queue), start(fleet, queue)
        await until(lambda: said(fleet, "worker.started", times=2))

        await postgres.stop()
        away = time.monotonic()
        await asyncio.to_thread(shop.send, *(shop.fields(f"k{n}") for n in range(COUNT)))
        await until(lambda: said(fleet, "ingress.database_away", times=2))
        first.kill()
        await asyncio.sleep(max(0.0, OUTAGE_S - (time.monotonic() - away)))
        assert survivor.poll() is None, "a worker outlives its database"
        await postgres.start()

        await killed_while_it_admits(survivor, postgres.url)
        await killed_while_it_admits(start(fleet, queue), postgres.url)
        start(fleet, queue)
        lost = await lost_of(shop, postgres.url)
        print(f"\n{broker}: {COUNT} submissions, {KILLS} kills, {len(lost)} lost")  # noqa: T201

        assert len(lost) <= (KILLS if broker == "redis" else 0)
        await asyncio.to_thread(shop.send, *(shop.fields(key) for key in lost))
        await open_database(postgres.url)
        try:
            await until(lambda: finished(COUNT), within_s=30)
            assert await hot().fetchval("SELECT count(*) FROM refusal") == 0
        finally:
            await close_database()


def start(fleet: Fleet, queue: str) -> "Popen[bytes]":
    settings = {
        "BROKER__SUBMISSIONS": queue,
        "BROKER__VISIBILITY_TIMEOUT_S": "5",
        "WORKER__LEASE_S": "3",
        "WORKER__HEARTBEAT_S": "1",
    }
    return fleet.workers(1, **settings)[0]


async def said(fleet: Fleet, what: str, *, times: int) -> bool:
    return sum(what in path.read_text() for path in fleet.folder.glob("*.log")) >= times


async def killed_while_it_admits(worker: "Popen[bytes]", url: str) -> None:
    """As soon as it has admitted some, in the midst of more."""
    before = await admitted(url)
    await until(lambda: some(url, before + 50))
    worker.kill()
    assert await admitted(url) < COUNT, "the kill came too late to tell anything"


async def some(url: str, least: int) -> bool:
    return await admitted(url) >= least


async def admitted(url: str) -> int:
    connection = await asyncpg.connect(dsn(url))
    try:
        return int(await connection.fetchval("SELECT count(*) FROM request_key"))
    finally:
        await connection.close()


async def lost_of(shop: Shop, url: str) -> list[str]:
    """The keys that never came, once the broker is empty and has been quiet for long enough."""
    still, seen = time.monotonic(), -1
    # A kill's unacked come back after 5 s, at the next of kombu's sweeps, which are 5 s apart.
    while time.monotonic() - still < 15:
        now = await admitted(url)
        if now == COUNT:
            return []
        if now != seen or shop.waiting():
            still, seen = time.monotonic(), now
        await asyncio.sleep(0.1)
    connection = await asyncpg.connect(dsn(url))
    try:
        known = {row[0] for row in await connection.fetch("SELECT key FROM request_key")}
    finally:
        await connection.close()
    return [key for key in (f"k{n}" for n in range(COUNT)) if key not in known]


async def test_a_redis_wiped_in_the_midst_costs_no_run_and_stops_nobody(
    submit, fleet, redis_url, database
):
    queue = f"submissions-{uuid4()}"
    shop = Shop(redis_url, await create_key("acme"), queue=queue)
    workers = fleet.workers(2, BROKER__SUBMISSIONS=queue)
    await until(lambda: enlisted(2))

    async def keep_submitting() -> None:
        for n in range(150):
            await submit("wait", {"seconds": 0.1}, key=f"k{n}")
            await asyncio.sleep(0.01)

    submitting = asyncio.create_task(keep_submitting())
    with redis_of(redis_url) as client:
        while not submitting.done():
            client.flushall()
            await asyncio.sleep(0.1)
    await submitting
    shop.send(shop.fields("after the flood"))

    await until(lambda: finished(151))
    assert [worker.poll() for worker in workers] == [None, None]
    reasons = await hot().fetch("SELECT stop_reason, sum(attempt) AS n FROM run GROUP BY 1")
    assert [tuple(row) for row in reasons] == [("success", 151)]


async def enlisted(count: int) -> bool:
    return await hot().fetchval("SELECT count(*) FROM worker") == count
