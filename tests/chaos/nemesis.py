"""The nemesis: breaks one thing after another, by a seed, and writes down what it did and when."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import kombu
import redis

from models.database import TRANSIENT, hot
from producer.client import SUBMISSIONS
from tests.chaos.arena import LEASE_S, Arena, Seat
from tests.service import redis_of

_TERMINATE = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
     WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND random() < 0.5
"""
DESK = {
    "reset_before": 0.04,
    "refuse_429": 0.04,
    "create_then_502": 0.05,
    "create_then_reset": 0.04,
    "half_answer": 0.03,
    "hang": 0.02,
    "hang_s": 4.0,
    "sees_after_s": 0.3,
    "latency_s": 0.6,  # so that a blow meets runs at work
}
"""Of all POSTs; the rest is answered as it should be."""

_LEFT_ALONE = 0.5
"""So many kills are all that happens for a while, so that recovery can be measured."""


class Deed(NamedTuple):
    """Something broken, and from when until when."""

    kind: str
    began: float
    ended: float
    whom: str = ""

    @property
    def hits_the_database(self) -> bool:
        return self.kind.startswith("PostgreSQL")


@dataclass
class Nemesis:
    arena: Arena
    chance: random.Random
    deeds: list[Deed] = field(default_factory=list)

    async def rage(self, until: float, *, pause_s: float) -> None:
        """Break something, let it heal, and so on until the time comes."""
        ways: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (self.kill_one, 40),
            (self.kill_all, 4),
            (self.freeze_one, 16),
            (self.kill_the_api, 4),
            (self.restart_postgres, 5),
            (self.kill_postgres, 5),
            (self.terminate_backends, 8),
        ]
        if any(url.startswith("redis") for url in self.arena.brokers):
            ways += [(self.wipe_redis, 10), (self.kill_redis, 6)]
        if self.arena.rabbit is not None:
            ways += [(self.purge_rabbitmq, 6), (self.kill_rabbitmq, 3)]
        first = [way for way, _ in ways]  # each at least once, however short the time
        self.chance.shuffle(first)
        while time.time() < until:
            way = first.pop() if first else self.chance.choices(*zip(*ways, strict=True))[0]
            await way()
            await asyncio.sleep(self.chance.uniform(0.3, 1.7) * pause_s)

    def counts(self) -> Counter[str]:
        return Counter(deed.kind for deed in self.deeds)

    async def kill_one(self) -> None:
        seats = [seat for seat in self.arena.seats if seat.taken]
        if seats:
            self._kill(self.chance.choice(seats))
            if self.chance.random() < _LEFT_ALONE:
                await asyncio.sleep(LEASE_S + 2)

    async def kill_all(self) -> None:
        for seat in self.arena.seats:
            if seat.taken:
                self._kill(seat, "SIGKILL, all workers at once")

    async def freeze_one(self) -> None:
        """For longer than the lease: it wakes when others have its runs."""
        seats = [seat for seat in self.arena.seats if seat.taken]
        if not seats:
            return
        seat = self.chance.choice(seats)
        began = time.time()
        self._signal(seat, signal.SIGSTOP)
        seat.frozen = True
        await asyncio.sleep(LEASE_S * self.chance.uniform(1.2, 2.2))
        self._signal(seat, signal.SIGCONT)
        seat.frozen = False
        self._wrote("SIGSTOP for longer than the lease", began, seat.writer)

    async def kill_the_api(self) -> None:
        self.arena.kill_api()
        self._wrote("SIGKILL, API", time.time())

    async def restart_postgres(self) -> None:
        await self._without_postgres("PostgreSQL restarted", self.arena.stop_postgres)

    async def kill_postgres(self) -> None:
        await self._without_postgres("PostgreSQL killed (SIGKILL)", self.arena.kill_postgres)

    async def terminate_backends(self) -> None:
        began = time.time()
        with suppress(*TRANSIENT):
            await hot().fetchval(_TERMINATE)
        self._wrote("PostgreSQL: half of the backends terminated", began)

    async def wipe_redis(self) -> None:
        with suppress(redis.RedisError), redis_of(self._redis()) as client:
            client.flushall()
        self._wrote("Redis wiped (FLUSHALL)", time.time())

    async def kill_redis(self) -> None:
        began = time.time()
        self.arena.kill_redis()
        await asyncio.sleep(self.chance.uniform(0.2, 2))
        await self.arena.start_servers()
        self._wrote("Redis killed (SIGKILL)", began)

    async def purge_rabbitmq(self) -> None:
        await asyncio.to_thread(self._purge)
        self._wrote("RabbitMQ purged", time.time())

    async def kill_rabbitmq(self) -> None:
        assert self.arena.rabbit is not None
        began = time.time()
        await asyncio.to_thread(self.arena.rabbit.kill)
        await asyncio.to_thread(self.arena.rabbit.start)
        self._wrote("RabbitMQ killed (SIGKILL)", began)

    async def heal(self) -> None:
        """Everything runs and behaves from now on."""
        self.arena.thaw()
        self.arena.away.clear()
        await self.arena.start_servers()
        quiet: dict[str, Any] = dict.fromkeys(DESK, 0)
        self.arena.desk.set(**quiet)

    def _kill(self, seat: Seat, kind: str = "SIGKILL, a worker") -> None:
        assert seat.process is not None
        seat.process.kill()
        seat.process.wait()
        self._wrote(kind, time.time(), seat.writer)
        self.arena.restart_s = self.chance.uniform(0.2, 3)

    async def _without_postgres(self, kind: str, end: Callable[[], None]) -> None:
        began = time.time()
        self.arena.away.set()
        try:
            end()
            await asyncio.sleep(self.chance.uniform(0.2, 1.5 * LEASE_S))
        finally:
            await self.arena.start_servers()
            self.arena.away.clear()
        self._wrote(kind, began)

    def _signal(self, seat: Seat, what: signal.Signals) -> None:
        if seat.process is not None:
            seat.process.send_signal(what)

    def _wrote(self, kind: str, began: float, whom: str = "") -> None:
        self.deeds.append(Deed(kind, began, time.time(), whom))

    def _redis(self) -> str:
        return next(url for url in self.arena.brokers if url.startswith("redis"))

    def _purge(self) -> None:
        assert self.arena.rabbit is not None
        connection = kombu.Connection(self.arena.rabbit.url)
        with suppress(*connection.connection_errors, *connection.channel_errors), connection:
            connection.default_channel.queue_purge(SUBMISSIONS)
