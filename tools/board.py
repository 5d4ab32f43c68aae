"""The board: what all workers together know of the tools, kept in Redis. It may be away."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from models.batcher import Batcher

log = structlog.get_logger()

_SCRIPT = Path(__file__).with_name("health.lua").read_text()
_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
ANSWERS_WITHIN_S = 1.0
"""Slower than this it is away: nobody's call waits longer for it, and that once."""


class Board:
    """One script call for all that a process asks and tells at one moment."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._redis: Redis | None = None
        self._lost = False
        self._ask: Batcher[dict[str, Any], dict[str, Any] | None] = Batcher(_plain(self._write))

    def connect(self, url: str) -> None:
        """Write on the board at `url` from now on; nothing is sent yet."""
        self._redis = Redis.from_url(
            _plain_url(url),
            socket_timeout=ANSWERS_WITHIN_S,
            socket_connect_timeout=ANSWERS_WITHIN_S,
            retry=Retry(NoBackoff(), 0),
            max_connections=2,
        )

    @property
    def there(self) -> bool:
        """Whether it is worth asking just now."""
        return self._redis is not None and not self._lost

    async def __call__(self, op: dict[str, Any], *, again: bool = False) -> dict[str, Any] | None:
        """What became of an op; None when the board is away, and nobody knows.

        While it is away nobody waits for it; with `again` it is tried.
        """
        if self._redis is None or (self._lost and not again):
            return None
        return await self._ask(op)

    async def close(self) -> None:
        redis, self._redis = self._redis, None
        if redis is not None:
            await redis.aclose()

    async def _write(self, ops: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any] | None]:
        redis = self._redis
        if redis is None:
            return [None] * len(ops)
        said = orjson.dumps({"worker": self._worker, "ops": list(ops)})
        try:
            async with asyncio.timeout(2 * ANSWERS_WITHIN_S):
                raw = await _run(redis, said)
        except (RedisError, OSError, TimeoutError) as error:
            if not self._lost:
                log.warning("health.board_away", error=repr(error)[:300])
            self._lost = True
            return [None] * len(ops)
        if self._lost:
            log.info("health.board_back")
        self._lost = False
        answers: list[dict[str, Any] | None] = orjson.loads(raw)
        return answers


async def _run(redis: Redis, said: bytes) -> Any:
    try:
        return await redis.evalsha(_SHA, 0, said)
    except NoScriptError:  # a Redis that was started anew knows no scripts
        return await redis.eval(_SCRIPT, 0, said)


def _plain_url(url: str) -> str:
    """As the client takes it: Celery has a spelling of its own for a unix socket."""
    parts = urlsplit(url)
    if parts.scheme != "redis+socket":
        return url
    database = parse_qs(parts.query).get("virtual_host", ["0"])[0].strip("/") or "0"
    return f"unix://{parts.path}?db={database}"


def _plain(verb: Any) -> Any:
    """None and exceptions are outcomes alike to a batcher, but not to a type checker."""
    return verb
