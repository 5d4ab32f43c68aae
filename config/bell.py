"""The bell: tells workers, through the broker, that something is due."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import structlog
from celery import Celery

from config.broker import ring
from config.settings import Settings

log = structlog.get_logger()

_PAUSE_AFTER_FAILURE_S = 1.0
_QUIET_SHARE = 16
"""The gap after a first bell is this much shorter; each that follows at once doubles it."""


class Bell:
    """Rings at once, then ever more seldom, down to once in `bell_gap_s`, while it is asked again.

    A failure costs latency only.

    Publishing is synchronous socket work, so it has a thread of its own: a broker that hangs
    uses up that thread and nothing else.
    """

    def __init__(self, app: Celery | None, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bell")
        self._again = False
        self._ringing: asyncio.Task[None] | None = None

    @property
    def hung(self) -> bool:
        """Whether there is a broker to ring through."""
        return self._app is not None

    def ring(self) -> None:
        """Call it on the loop, after the commit; it never blocks and never raises."""
        if self._app is None:
            return
        self._again = True
        if self._ringing is None:
            self._ringing = asyncio.create_task(self._ring())

    async def close(self) -> None:
        """Let the last ring out, if the broker takes it."""
        if self._ringing is not None:
            await asyncio.wait([self._ringing], timeout=2)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _ring(self) -> None:
        loop = asyncio.get_running_loop()
        longest_s = self._settings.broker.bell_gap_s
        gap_s = longest_s / _QUIET_SHARE
        try:
            while self._again:
                self._again = False
                pause_s, gap_s = gap_s, min(2 * gap_s, longest_s)
                try:
                    await loop.run_in_executor(self._thread, ring, self._app, self._settings)
                except Exception as error:  # noqa: BLE001  # kombu raises whatever its transport does
                    log.warning("bell.not_rung", error=repr(error)[:300])
                    pause_s = _PAUSE_AFTER_FAILURE_S
                await asyncio.sleep(pause_s)
        finally:
            self._ringing = None
