"""What stands around Sluice in the tests: its API in this process, and a service with Celery."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import kombu
import redis
from aiohttp.test_utils import TestServer
from celery import Celery
from pydantic import SecretStr

from config.settings import Settings
from producer.app import api
from producer.client import SUBMISSIONS, SUBMIT, signed, submissions_queue


@asynccontextmanager
async def serving(
    database_url: str, *, broker_url: str | None = None, **settings: Any
) -> AsyncIterator[str]:
    """The API on a free port of loopback; yields its URL."""
    own = Settings(database_url=SecretStr(database_url), **settings)
    async with api(own, database_url=database_url, broker_url=broker_url) as app:
        server = TestServer(app)
        await server.start_server()
        try:
            yield str(server.make_url("/")).rstrip("/")
        finally:
            await server.close()


@dataclass
class Shop:
    """A service with a plain Celery app of its own; it knows Sluice's broker and one API key."""

    broker_url: str
    api_key: str
    queue: str = SUBMISSIONS

    def fields(self, key: str, **more: Any) -> dict[str, Any]:
        return {
            "tenant": "acme",
            "idempotency_key": key,
            "pipeline": "noop",
            "input": {"n": 1},
        } | more

    def send(self, *submissions: dict[str, Any], sign: bool = True, **options: Any) -> None:
        name = options.pop("name", SUBMIT)
        app = Celery("shop", broker=self.broker_url, set_as_current=False)
        try:
            for fields in submissions:
                app.send_task(
                    name,
                    kwargs=signed(fields, self.api_key) if sign else fields,
                    queue=submissions_queue(self.broker_url, name=self.queue),
                    **options,
                )
        finally:
            app.close()

    def publish(self, body: Any, *, to: str | None = None, **properties: Any) -> None:
        """Something that no Celery would send."""
        given = {"content_type": "application/json", "content_encoding": "utf-8"} | properties
        given["headers"] = {"task": SUBMIT, "id": uuid4().hex} | given.get("headers", {})
        with kombu.Connection(self.broker_url) as connection:
            connection.Producer().publish(body, exchange="", routing_key=to or self.queue, **given)

    def publish_fields(self, fields: dict[str, Any]) -> None:
        """Signed or not, as Python's own JSON would write it, NaN and all."""
        self.publish(json.dumps([[], fields, {}]))

    def push(self, item: bytes, *, to: str | None = None) -> None:
        """Raw bytes on the Redis list."""
        with redis_of(self.broker_url) as client:
            client.lpush(to or self.queue, item)

    def waiting(self, queue: str | None = None) -> int:
        """How much stands in a queue, not counting what a consumer holds."""
        if self.broker_url.startswith("redis"):
            with redis_of(self.broker_url) as client:
                return int(client.llen(queue or self.queue))
        with kombu.Connection(self.broker_url) as connection:
            return int(
                connection.default_channel.queue_declare(
                    queue or self.queue, passive=True
                ).message_count
            )


@contextmanager
def redis_of(broker_url: str) -> Iterator["redis.Redis"]:
    client = redis.Redis(unix_socket_path=urlsplit(broker_url).path)
    try:
        yield client
    finally:
        client.close()
