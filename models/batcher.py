"""Many callers, one statement: a verb that runs once for everybody who asked meanwhile."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import structlog

from models.database import TRANSIENT

log = structlog.get_logger()

M = TypeVar("M")
O = TypeVar("O")  # noqa: E741  # an outcome

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.5


class DatabaseAway(Exception):
    """PostgreSQL did not take a batch in time; whether it was committed may be unknown."""


class Batcher(Generic[M, O]):
    """One flusher and no timer: while a batch is in flight, the next one fills by itself.

    A linger would only cost (it halved the rate when measured). A transient error repeats
    the whole batch, so a verb must recognise rows of its own that an unacknowledged commit
    left behind. Any other error splits the batch until the culprit is alone, and only its
    caller sees it. A verb may return an exception as one member's outcome.
    """

    def __init__(
        self,
        verb: Callable[[Sequence[M]], Awaitable[Sequence[O | BaseException]]],
        *,
        limit: int = 256,
        patience_s: float = 30,
    ) -> None:
        self._verb = verb
        self._limit = limit
        self._patience_s = patience_s
        self._waiting: deque[tuple[M, asyncio.Future[O]]] = deque()
        self._flusher: asyncio.Task[None] | None = None

    async def __call__(self, member: M) -> O:
        future: asyncio.Future[O] = asyncio.get_running_loop().create_future()
        self._waiting.append((member, future))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush())
        return await future

    async def _flush(self) -> None:
        try:
            while self._waiting:
                take = min(self._limit, len(self._waiting))
                batch = [self._waiting.popleft() for _ in range(take)]
                # A caller that has gone asks for nothing any more.
                batch = [(member, future) for member, future in batch if not future.done()]
                if batch:
                    await self._settle(batch)
        finally:
            self._flusher = None

    async def _settle(self, batch: list[tuple[M, "asyncio.Future[O]"]]) -> None:
        try:
            outcomes = await self._patiently([member for member, _ in batch])
        except Exception as error:  # noqa: BLE001  # whatever it is belongs to a caller
            if len(batch) > 1 and not isinstance(error, DatabaseAway):
                middle = len(batch) // 2
                await self._settle(batch[:middle])
                await self._settle(batch[middle:])
                return
            outcomes = [error] * len(batch)
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    async def _patiently(self, members: list[M]) -> Sequence[O | BaseException]:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._patience_s
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return await self._verb(members)
            except TRANSIENT as error:
                if loop.time() + pause_s > give_up_at:
                    raise DatabaseAway(
                        f"PostgreSQL has not answered for {self._patience_s:g} s: {error!r}"
                    ) from error
                log.info("batch.repeated", members=len(members), error=repr(error))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
