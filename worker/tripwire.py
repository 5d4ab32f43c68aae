"""The tripwire: puts the fleet into safe mode by itself when too much fails or is spent."""

import asyncio
import random
from decimal import Decimal
from uuid import UUID

import asyncpg
import structlog

from config.policy_safe_mode import Triggers
from models import pulse
from models.database import TRANSIENT
from models.gate import GateBusy, GateMode, flip
from models.pulse import Beat
from models.scope import FLEET
from worker.gatekeeper import Gatekeeper
from worker.journal import Journal

log = structlog.get_logger()

_EVERY_S = 1.0
_FORGET_EACH = 60
_WHO = "sluice"


class Tripwire:
    """One per worker. Each tells what it did; each judges what the whole fleet did.

    Latched: only a person opens the gate again, and what was before that no longer counts.
    """

    def __init__(
        self, worker: UUID, triggers: Triggers, journal: Journal, gatekeeper: Gatekeeper
    ) -> None:
        self._worker = worker
        self._triggers = triggers
        self._journal = journal
        self._gatekeeper = gatekeeper

    async def run(self) -> None:
        """Tell and judge about once a second until cancelled."""
        rounds = 0
        while True:
            await asyncio.sleep(_EVERY_S * random.uniform(0.8, 1.2))  # noqa: S311  # jitter
            try:
                await self.round()
                rounds += 1
                if rounds % _FORGET_EACH == 0:
                    await pulse.forget()
            except (*TRANSIENT, asyncpg.PostgresError, GateBusy) as error:  # ends no worker
                log.warning("tripwire.failed", error=repr(error)[:300])

    async def round(self) -> None:
        """Tell what this worker did since the last round, and trip when it is time."""
        beat = self._journal.take_beat()
        if beat != pulse.NOTHING:
            try:
                await pulse.tell(self._worker, beat)
            except BaseException:
                self._journal.give_back(beat)
                raise
        if self._gatekeeper.fleet is not GateMode.OPEN:
            return
        if (why := self.judge(await pulse.feel(self._triggers.window_s))) is not None:
            told = f"The fleet went into safe mode by itself: {why}. When it is well again:"
            told += " sluice safe-mode off --reason ..."
            await flip(FLEET, GateMode.READ_ONLY, who=_WHO, reason=why, loosen=False, page=told)

    def judge(self, felt: Beat) -> str | None:
        """Why the gate should be shut, or None."""
        own = self._triggers
        enough = own.failed_of is not None and felt.ended >= own.failed_of
        if enough and felt.failed >= own.failed_share * felt.ended:
            return f"{felt.failed} of {felt.ended} runs failed within {own.window_s:g} s"
        if own.usd_per_minute is not None:
            slope = felt.usd * 60 / Decimal(str(own.window_s))
            if slope > own.usd_per_minute:
                return f"{slope:.2f} USD a minute were spent over {own.window_s:g} s"
        return None
