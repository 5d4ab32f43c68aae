"""A bad night: a fleet of two works off orders for tickets, on servers of its own that break."""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from config import embedded
from models import migrate
from models.database import TRANSIENT, close_database, dsn, hot, open_database
from tests.chaos.orders import Load, all_over, history, straight_in, wrongs
from tests.conftest import Fleet, fleet_of, until
from tests.desk import Desk, started_desk
from tests.proxy import Proxy, proxied

LEASE_S = 4.5
OUTAGE_S = LEASE_S + 1
"""Longer than any worker keeps a run that it cannot renew."""
_WORKER = {
    "WORKER__CATALOGUES": '["tests.desk_pipelines"]',
    "WORKER__LEASE_S": str(LEASE_S),
    "WORKER__HEARTBEAT_S": "1.5",
    "WORKER__SEND_BEFORE_S": "0.5",
}
_STAMPS = """
    SELECT table_name, string_agg(format('%1$I = %1$I + $1::interval', column_name), ', ')
      FROM information_schema.columns
     WHERE data_type = 'timestamp with time zone' AND table_name = ANY($1::text[])
     GROUP BY 1
"""
_HELD = "SELECT count(*) FROM run JOIN worker w ON w.id = run.worker WHERE w.pid = $1"


@dataclass
class Night:
    """What breaks, who must live through it, and who knows what came of it."""

    servers: embedded.Servers
    folder: Path
    """Of the servers."""
    desk: Desk
    fleet: Fleet
    load: Load
    proxies: list[Proxy]
    """Between each worker and PostgreSQL, in the order of the workers."""

    @asynccontextmanager
    async def somebody(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """Who also uses this PostgreSQL, and is none of ours."""
        connection = await asyncpg.connect(dsn(self.servers.database_url))
        try:
            yield connection
        finally:
            with suppress(*TRANSIENT):
                await connection.close(timeout=2)

    def logged(self, what: str) -> int:
        return self.fleet.logs().count(what)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Both workers stand still meanwhile; for less than a lease, they have not noticed it."""
        for worker in self.fleet.processes:
            worker.send_signal(signal.SIGSTOP)
        yield
        for worker in self.fleet.processes:
            worker.send_signal(signal.SIGCONT)

    async def endures(self, fault: "Fault") -> None:
        """Have it happen while both work, and check that it did."""
        self.load.begin(fault.__name__)
        await until(lambda: self._finishes(fault))
        await until(self.both_hold)
        happened = await fault(self)
        await self.load.end()
        print(f"\n{fault.__name__}: {happened} times")  # noqa: T201  # the figure of the night
        assert happened > 0, f"{fault.__name__} hit nothing"

    async def ends_well(self) -> None:
        """Each order is over or stands before a person; one ticket each; every worker lives."""
        await until(lambda: all_over(self.load), within_s=60)
        assert wrongs(await history(), self.desk.record) == []
        assert {worker.poll() for worker in self.fleet.processes} == {None}

    async def blamed(self, *faults: "Fault") -> list[str]:
        """The runs of these faults for which somebody counted a crash."""
        names = tuple(each.__name__ for each in faults)
        return [r["key"] for r in await history() if r["crashes"] and r["key"].startswith(names)]

    async def both_hold(self) -> bool:
        """Whether each worker has some run in hand."""
        pids = [worker.pid for worker in self.fleet.processes]
        return all([await hot().fetchval(_HELD, pid) > 1 for pid in pids])

    async def _finishes(self, fault: "Fault") -> bool:
        mine = [row for row in await history() if row["key"].startswith(fault.__name__)]
        return any(row["status"] == "finished" for row in mine)


Fault = Callable[[Night], Awaitable[int]]
"""Makes it happen and heals it; returns how often it really happened."""


@asynccontextmanager
async def bad_night(
    logs: Path, *, redis: bool = False, broker_url: str | None = None, **settings: str
) -> AsyncIterator[Night]:
    """Servers of our own, with Redis only if asked for, two workers, and a desk that forgives.

    The desk answers a repeat with the first ticket, and keeps a record of both.
    """
    root = Path(tempfile.mkdtemp(prefix="sluice-night-"))
    root.chmod(0o755)
    async with AsyncExitStack() as end:
        end.callback(shutil.rmtree, root, ignore_errors=True)
        if not redis:
            patch = end.enter_context(pytest.MonkeyPatch.context())
            patch.setenv("SLUICE_EMBEDDED_REDIS", "off")
        end.push_async_callback(asyncio.to_thread, embedded.stop, root / "data")
        servers = await asyncio.to_thread(embedded.start, root / "data")
        url = servers.database_url
        await migrate.upgrade(url)
        await open_database(url)
        end.push_async_callback(close_database)
        desk = end.enter_context(started_desk(root / "desk", dedupe=True, latency_s=0.15))
        ways = []
        for number in range(2):
            (root / str(number)).mkdir()
            ways.append(await end.enter_async_context(proxied(url, root / str(number))))
        fleet = end.enter_context(fleet_of(url, broker_url or servers.broker_url, logs))
        end.push_async_callback(asyncio.to_thread, fleet.stop)  # its ways lead over this loop
        own = _WORKER | {"TEST_DESK_URL": desk.url} | settings
        for _, through in ways:
            fleet.start("worker", **own, DATABASE_URL=through)
        await until(lambda: hot().fetchval("SELECT count(*) = 2 FROM worker"))
        proxies = [proxy for proxy, _ in ways]
        load = Load(straight_in())
        end.callback(load.drop)
        yield Night(servers, root / "data", desk, fleet, load, proxies)


async def turn_stamps(by: timedelta, *tables: str) -> int:
    """As if the database's clock had jumped as far the other way; return how many rows it is."""
    moved = 0
    async with hot().acquire() as connection, connection.transaction():
        await connection.execute(f"LOCK TABLE {', '.join(tables)}")
        for table, columns in await connection.fetch(_STAMPS, tables):
            done = await connection.execute(f"UPDATE {table} SET {columns}", by)  # noqa: S608  # from the catalogue
            moved += int(done.split()[1])
    return moved
