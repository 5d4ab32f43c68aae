"""Waiting: clients that asked to be told when a run is over."""

import asyncio
import contextlib
from collections import defaultdict
from typing import Any
from uuid import UUID

import structlog

from models.database import TRANSIENT, dedicated

log = structlog.get_logger()

CHANNEL = "sluice_run"
_LOOK_S = 1.0
"""A lost notice costs at most this long."""


class Waiting:
    """One listening connection for all who wait; a notice only makes them look at the row."""

    def __init__(self) -> None:
        self._waiters: defaultdict[UUID, set[asyncio.Event]] = defaultdict(set)
        self._listener: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._listener = asyncio.create_task(self._listen())

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)

    @contextlib.contextmanager
    def on(self, run_id: UUID) -> Any:
        """An event that is set when the run may have changed. Enter before looking at the row."""
        event = asyncio.Event()
        self._waiters[run_id].add(event)
        try:
            yield event
        finally:
            self._waiters[run_id].discard(event)
            if not self._waiters[run_id]:
                del self._waiters[run_id]

    async def _listen(self) -> None:
        while True:
            try:
                connection = await dedicated()
                try:
                    await connection.add_listener(CHANNEL, self._told)
                    while not connection.is_closed():
                        await asyncio.sleep(_LOOK_S)
                        self._everybody_looks()
                finally:
                    with contextlib.suppress(*TRANSIENT):
                        await connection.close(timeout=1)
            except TRANSIENT as error:
                log.warning("waiting.database_away", error=repr(error)[:300])
                await asyncio.sleep(_LOOK_S)

    def _told(self, _connection: Any, _pid: int, _channel: str, payload: str) -> None:
        if not self._waiters:
            return
        for run_id in payload.split():
            for event in self._waiters.get(UUID(run_id), ()):
                event.set()

    def _everybody_looks(self) -> None:
        for events in self._waiters.values():
            for event in events:
                event.set()
