"""The load: clients that ask for tickets through every door, each key one to three times."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from models.database import hot
from producer.client import Away, Client
from tests.chaos.arena import Arena, patiently
from tests.desk_pipelines import Order
from tests.service import Shop

PIPELINES = ("file-ticket",) * 9 + ("file-ticket-once",) * 9 + ("file-ticket-blind",) * 2
HTTP = "http"
NAMES = {"redis+socket": "Redis", "amqp": "RabbitMQ", HTTP: "HTTP"}
_UNANSWERED_S = 15.0
"""A client that used a broker asks for its run after so long, and sends its key again."""
_FLUSH_S = 0.3
_KNOWN = "SELECT key FROM request_key WHERE key = ANY($1::text[])"


@dataclass(frozen=True)
class Wish:
    """A request, and through which doors it is sent."""

    key: str
    pipeline: str
    order: Order
    doors: tuple[str, ...]

    @property
    def input(self) -> dict[str, Any]:
        return self.order.model_dump()


@dataclass
class Load:
    arena: Arena
    wishes: list[Wish]
    sent: Counter[str] = field(default_factory=Counter)
    """By the door: how often something was sent."""
    again: int = 0
    """Sent again because a broker had lost it."""
    known: set[str] = field(default_factory=set)
    _to_brokers: list[tuple[str, Wish]] = field(default_factory=list)
    _asked: dict[str, float] = field(default_factory=dict)

    async def run(self, until: float) -> None:
        """Send every wish, evenly until the time comes; then see to it that each has its run."""
        sending = asyncio.create_task(self._flush())
        client = Client(self.arena.api_url, self.arena.api_key, patience_s=180)
        async with client, asyncio.TaskGroup() as group:
            for left, wish in zip(range(len(self.wishes), 0, -1), self.wishes, strict=True):
                self._asked[wish.key] = time.monotonic()
                for door in wish.doors:
                    group.create_task(self._send(client, wish, door))
                await self._resend(over=False)
                await asyncio.sleep(max(0.0, until - time.time()) / left)
        sending.cancel()

    async def settle(self) -> bool:
        """Whether every wish has a run by now; what a broker lost is sent again."""
        await self._resend(over=True)
        await self._send_to_brokers()
        return len(self.known) == len(self.wishes)

    async def _send(self, client: Client, wish: Wish, door: str) -> None:
        self.sent[NAMES.get(door.partition(":")[0], door)] += 1
        if door != HTTP:
            self._to_brokers.append((door, wish))
            return
        with suppress(Away):  # then it is sent again like any other that has no run
            await client.submit(wish.pipeline, wish.input, key=wish.key)

    async def _flush(self) -> None:
        while True:
            await self._send_to_brokers()
            await asyncio.sleep(_FLUSH_S)

    async def _send_to_brokers(self) -> None:
        waiting, self._to_brokers = self._to_brokers, []
        for broker in self.arena.brokers:
            wishes = [wish for door, wish in waiting if door == broker]
            if wishes:
                await asyncio.to_thread(self._publish, broker, wishes)

    def _publish(self, broker: str, wishes: Iterable[Wish]) -> None:
        shop = Shop(broker, self.arena.api_key)
        fields = [
            shop.fields(wish.key, pipeline=wish.pipeline, input=wish.input) for wish in wishes
        ]
        with suppress(Exception):  # a broker that is away has lost it, and it is sent again
            shop.send(*fields, retry=False)

    async def _resend(self, *, over: bool) -> None:
        """Ask for the runs of what was sent a while ago; send again what has none."""
        now = time.monotonic()
        late = [
            wish
            for wish in self.wishes
            if wish.key not in self.known
            and now - self._asked.get(wish.key, now) > (_UNANSWERED_S if not over else 3)
        ]
        if not late:
            return
        keys = [wish.key for wish in late]
        found = {row[0] for row in await patiently(lambda: hot().fetch(_KNOWN, keys))}
        self.known |= found
        for wish in late:
            if wish.key not in found:
                door = next((door for door in wish.doors if door != HTTP), self.arena.brokers[0])
                self._asked[wish.key] = now
                self._to_brokers.append((door, wish))
                self.again += 1


def wishes(count: int, brokers: Iterable[str], chance: random.Random) -> list[Wish]:
    """So many requests; each key goes out one to three times, by HTTP and by broker."""
    doors = [HTTP, *brokers]
    return [
        Wish(
            key=f"k{n}",
            pipeline=chance.choice(PIPELINES),
            order=Order(ref=f"T-{n}", title=f"Parcel {n}", steps=chance.randint(1, 3)),
            doors=tuple(chance.choices(doors, k=chance.randint(1, 3))),
        )
        for n in range(count)
    ]
