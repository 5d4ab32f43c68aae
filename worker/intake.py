"""The intake: claims what is due whenever there is room, rung for or not."""

import asyncio
from collections import Counter
from uuid import UUID

import asyncpg
import structlog

from models.database import TRANSIENT
from models.gate import GateMode
from worker.claim import Claims
from worker.gatekeeper import Gatekeeper
from worker.held import Held
from worker.runner import Runner

log = structlog.get_logger()

BATCH = 256
"""Claimed at a time: the first can start while the next are fetched."""
RESERVE_SHARE = 32
"""One place in so many is kept for tenants of whom this worker holds nothing."""
_REFILL_PAUSE_S = 0.02
_FIRST_LOOK_S = 0.005


class Intake:
    """One per worker process. A bell only wakes it; a lost one costs the time until the next look.

    After work it looks again soon, and twice as long each time it finds nothing, up to
    `look_s`: two workers that raced for the same rows both find what the other left.
    """

    def __init__(
        self,
        claims: Claims,
        runner: Runner,
        gatekeeper: Gatekeeper,
        *,
        room: int,
        look_s: float,
        alone: bool = False,
    ) -> None:
        """`alone`: of the runs that have killed their workers, one at a time, and no others."""
        self.held: dict[UUID, Held] = {}
        self.closed = False
        self._claims = claims
        self._runner = runner
        self._gatekeeper = gatekeeper
        self._alone = alone
        self._room = 1 if alone else room
        self._reserve = max(1, room // RESERVE_SHARE) if self._room > 1 else 0
        self._look_s = look_s
        self._woken = asyncio.Event()
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._unsure = False
        """Some rows may be ours without our holding them: a claim's answer was lost, or a run was
        let go while the database was away."""

    def wake(self) -> None:
        """Look now; safe from a signal handler's or another thread's `call_soon_threadsafe`."""
        self._woken.set()

    async def run(self) -> None:
        """Claim and start runs until `close`; a database that is away is waited for."""
        pause_s = _FIRST_LOOK_S
        while not self.closed:
            self._woken.clear()
            try:
                taken = await self._look()
            except asyncpg.UniqueViolationError:
                taken = 0  # another worker has just taken an earlier run of the same subject
            except TRANSIENT as error:
                log.warning("intake.database_away", error=repr(error))
                self._unsure, taken = True, 0
            pause_s = _FIRST_LOOK_S if taken else min(pause_s * 2, self._look_s)
            if taken and self._free() > self._reserve:
                continue
            await self._rest(pause_s)

    def close(self) -> None:
        """Claim nothing more; whoever is held is told to leave at its next step."""
        self.closed = True
        for held in self.held.values():
            held.leaving = True
        self._woken.set()

    def lose(self, held: Held) -> None:
        """Another worker has this run, or may have it by now."""
        if self.held.get(held.id) is held and not (held.departing or held.lost):
            held.lost = True
            self._tasks[held.id].cancel()

    def cancel(self, held: Held) -> None:
        """Somebody wants this run to end; a write under way is brought to its end first."""
        if self.held.get(held.id) is held and not (held.departing or held.cancelled):
            held.cancelled = True
            self._tasks[held.id].cancel()

    async def drain(self, grace_s: float) -> int:
        """Wait for what is held; after `grace_s`, snooze the rest. Return how many those were."""
        tasks = list(self._tasks.values())
        if not tasks:
            return 0
        _, late = await asyncio.wait(tasks, timeout=grace_s)
        # One that is writing down its departure already is let go in peace.
        for held in list(self.held.values()):
            if not held.departing:
                self._tasks[held.id].cancel()
        if late:
            await asyncio.wait(late, timeout=grace_s)
        return len(late)

    async def _look(self) -> int:
        if self._unsure:
            self._unsure = False  # before the look: what is let go during it is looked for again
            for held in await self._claims.adopt(list(self.held)):
                self._start(held)
        if self._gatekeeper.fleet is GateMode.CLOSED:
            return 0
        held_by_tenant = Counter(held.tenant for held in self.held.values())
        room = self._free() - self._reserve
        if self._alone:
            claimed = await self._claims.take_suspect() if room > 0 else []
        elif room > 0:
            claimed = await self._claims.take(min(room, BATCH), held=held_by_tenant)
        elif self._free() > 0:
            claimed = await self._claims.take(
                self._free(), held=held_by_tenant, only_new_tenants=True
            )
        else:
            return 0
        for held in claimed:
            self._start(held)
        return len(claimed)

    async def _rest(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._woken.wait()
        except TimeoutError:
            pass

    def _free(self) -> int:
        """Places left; in safe mode half of all stay empty."""
        safe = self._gatekeeper.fleet is not GateMode.OPEN
        return (self._room // (2 if safe and self._room > 1 else 1)) - len(self.held)

    def _start(self, held: Held) -> None:
        self.held[held.id] = held
        held.leaving = self.closed
        task = asyncio.create_task(self._runner.run(held))
        self._tasks[held.id] = task
        task.add_done_callback(lambda task: self._left(held, task))

    def _left(self, held: Held, task: "asyncio.Task[None]") -> None:
        full = self._free() <= self._reserve
        if self.held.get(held.id) is held:  # else it was claimed again before this was heard
            del self.held[held.id], self._tasks[held.id]
        self._unsure = self._unsure or held.lost
        if not task.cancelled() and task.exception() is not None:
            log.error("run.escaped", run=str(held.id), error=repr(task.exception()))
        if full:
            # Room again: refill soon, but for many at once rather than one by one.
            asyncio.get_running_loop().call_later(_REFILL_PAUSE_S, self._woken.set)
