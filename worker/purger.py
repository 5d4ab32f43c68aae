"""The purger: removes what was promised to be kept only for so long."""

import asyncio
import random

import asyncpg
import structlog

from config.settings import RetentionSettings
from models import memory, tombstone, transcript
from models.database import TRANSIENT

log = structlog.get_logger()

_PAUSE_S = 0.05
"""Between two batches, so that a large purge stands in nobody's way."""


class Purger:
    """One per worker; each batch is one transaction, and two of them skip each other's rows."""

    def __init__(self, settings: RetentionSettings) -> None:
        self._settings = settings

    async def run(self) -> None:
        """Purge in rounds until cancelled."""
        while True:
            await asyncio.sleep(self._settings.every_s * random.uniform(0.5, 1.5))  # noqa: S311  # jitter
            try:
                if (purged := await self.purge()) != (0, 0):
                    log.info("purged", payloads=purged[0], keys=purged[1])
            except (*TRANSIENT, asyncpg.PostgresError) as error:  # no reason to end a worker
                log.warning("purger.failed", error=repr(error)[:300])

    async def purge(self) -> tuple[int, int]:
        """One round: all payloads and all keys whose time is up; return how many of each."""
        payloads, place = 0, tombstone.FIRST
        while True:
            last, gone = await tombstone.bury(place, payload_s=self._settings.payload_s)
            payloads += gone
            if last is None:
                break
            place = last
            await asyncio.sleep(_PAUSE_S)
        keys = 0
        while forgotten := await tombstone.forget(keys_s=self._settings.keys_s):
            keys += forgotten
            await asyncio.sleep(_PAUSE_S)
        await tombstone.clear(keys_s=self._settings.keys_s)
        await transcript.clear(transcripts_s=self._settings.transcripts_s)
        await self._expire()
        return payloads, keys

    async def _expire(self) -> None:
        """What has expired is read by nobody any more; now it goes."""
        memories = 0
        while gone := await memory.expire():
            memories += gone
            await asyncio.sleep(_PAUSE_S)
        if memories:
            log.info("memory.expired", memories=memories)
