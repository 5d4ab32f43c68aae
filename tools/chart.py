"""The chart: what PostgreSQL has on record of the breakers."""

import asyncpg
import structlog

from models import breaker
from models.breaker import Change
from models.database import TRANSIENT

log = structlog.get_logger()


class Chart:
    """One per worker process."""

    def __init__(self) -> None:
        self._unwritten: dict[str, Change] = {}

    def note(self, change: Change) -> None:
        """To be written down; of two stories about one breaker the later one."""
        known = self._unwritten.get(change.tool)
        if known is None or known.epoch < change.epoch:
            self._unwritten[change.tool] = change

    async def write(self) -> None:
        """Write down what is new; what cannot be written is kept for the next time."""
        try:
            for tool, change in list(self._unwritten.items()):
                await breaker.note(change)
                if self._unwritten.get(tool) is change:
                    del self._unwritten[tool]
        except (*TRANSIENT, asyncpg.PostgresError) as error:
            log.warning("health.database_away", error=repr(error)[:300])

    async def read(self) -> tuple[dict[str, Change], int] | None:
        """What is on record by tool, and how many workers live; None when nobody can say."""
        try:
            found, workers = await breaker.see()
        except (*TRANSIENT, asyncpg.PostgresError) as error:
            log.warning("health.database_away", error=repr(error)[:300])
            return None
        return {each.tool: each for each in found}, workers
