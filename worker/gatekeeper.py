"""The gatekeeper: what this process knows of the gate. Never the last word on a write."""

import asyncio
import contextlib
import time
from typing import Any

import structlog

from config.rulebook import Rulebook
from models import autonomy
from models.batcher import DatabaseAway
from models.database import TRANSIENT, dedicated, hot
from models.gate import CHANNEL, STRICTNESS, GateMode
from models.scope import FLEET, POLICY
from tools.tool import Tool
from worker.held import Held
from worker.levels import Levels
from worker.outcome import GateShut

log = structlog.get_logger()

LOOK_S = 1.0
"""A lost notice costs at most this long."""
STALE_S = 3.0
"""Who has not seen the gate for this long starts nothing."""
_MISSING: dict[str, GateMode] = {FLEET: GateMode.CLOSED}
"""What a fleet without a gate stands for."""
_AGAIN_S = 0.1
_LOOK = "SELECT scope, mode FROM gate"
"""By itself, never in a transaction: whoever has read the gate in one holds up the flip."""


class Gatekeeper:
    """One per worker process. Calls ask here first, and a write's intent then asks the table.

    That the switch is obeyed rests on the intent alone. Here it is decided what else may start
    (reads, claims, further steps), and that nothing does while PostgreSQL is away.
    """

    def __init__(self, rulebook: Rulebook, *, patience_s: float) -> None:
        self._rulebook = rulebook
        self.levels = Levels(rulebook)
        self._standing = rulebook.file.policy.safe_mode.enabled
        self._patience_s = patience_s
        self._shut: dict[str, GateMode] = _MISSING
        """Every scope that is not open; a policy with a standing safe mode is shut for good."""
        self._seen = float("-inf")
        self._looking = asyncio.Lock()

    async def run(self) -> None:
        """Look about once a second, and whenever a flip is heard of, until cancelled."""
        while True:
            try:
                connection = await dedicated()
                try:
                    await self._watch(connection)
                finally:
                    with contextlib.suppress(*TRANSIENT):
                        await connection.close(timeout=1)
            except TRANSIENT as error:
                log.warning("gatekeeper.database_away", error=repr(error)[:300])
            self._seen = float("-inf")
            await asyncio.sleep(_AGAIN_S)

    async def look(self) -> None:
        """Read the gate now.

        Raises:
            OSError, TimeoutError, asyncpg.PostgresError: PostgreSQL did not answer in a second.
        """
        started = time.monotonic()
        async with asyncio.timeout(LOOK_S):
            rows = await hot().fetch(_LOOK)
            levels = await hot().fetch(autonomy.LOOK)
        self.levels.read(levels)
        self._read(rows, started)

    async def admit(self, held: Held, tool: Tool[Any, Any], *, looking: bool = False) -> None:
        """Let a try of a call start, or a look-up of what became of an earlier one.

        Raises:
            GateShut: Not in the mode that the gate stands in, as far as we know.
            DatabaseAway: Nobody knows how it stands.
        """
        if time.monotonic() - self._seen > STALE_S:
            await self._see()
        if self._shut:
            needs = GateMode.READ_ONLY if looking else self.needs(tool)
            self._refuse(needs, held, f"tool:{tool.name}")

    async def admit_memory(self, held: Held) -> None:
        """Let something be remembered: a write, though it needs no tool.

        Raises:
            GateShut, DatabaseAway: As for a call.
        """
        if not self.clear:
            await self._see()
            self._refuse(GateMode.OPEN, held, "")

    @property
    def clear(self) -> bool:
        """Every gate was open when it was last seen, and that was just now: `admit` lets pass."""
        return not self._shut and time.monotonic() - self._seen <= STALE_S

    def pass_by(self, held: Held) -> None:
        """Let a run come to its next step.

        Raises:
            GateShut: It is closed.
        """
        if self._shut:
            self._refuse(GateMode.READ_ONLY, held, "")

    def needs(self, tool: Tool[Any, Any]) -> GateMode:
        """The strictest mode in which a tool may be used."""
        allowed = not tool.writes and self._rulebook.file.policy.safe_mode.allows(tool.name)
        return GateMode.READ_ONLY if allowed else GateMode.OPEN

    def careful(self, held: Held, tool: Tool[Any, Any]) -> bool:
        """Whether safe mode is on for this call: nothing is tried again on the spot."""
        return bool(self._shut) and any(
            scope in self._shut for scope in _scopes(held, f"tool:{tool.name}")
        )

    @property
    def fleet(self) -> GateMode:
        """The strictest of what stands for everybody."""
        modes = [self._shut.get(each, GateMode.OPEN) for each in (FLEET, POLICY)]
        return max(modes, key=STRICTNESS.__getitem__)

    def _refuse(self, needs: GateMode, held: Held, tool: str) -> None:
        for scope in _scopes(held, tool):
            mode = self._shut.get(scope, GateMode.OPEN)
            if STRICTNESS[mode] > STRICTNESS[needs]:
                raise GateShut(scope, needs)

    async def _see(self) -> None:
        give_up = time.monotonic() + self._patience_s
        async with self._looking:
            while time.monotonic() - self._seen > STALE_S:
                try:
                    await self.look()
                except TRANSIENT as error:
                    if time.monotonic() > give_up:
                        told = f"nobody knows how the gate stands: {error!r}"
                        raise DatabaseAway(told) from error
                    await asyncio.sleep(_AGAIN_S)

    async def _watch(self, connection: Any) -> None:
        heard = asyncio.Event()
        connection.add_termination_listener(lambda _: self._lost(heard))
        await connection.add_listener(CHANNEL, lambda *_: heard.set())
        while not connection.is_closed():
            heard.clear()
            self._rulebook.look()
            started = time.monotonic()
            async with asyncio.timeout(LOOK_S):
                rows = await connection.fetch(_LOOK)
                self.levels.read(await connection.fetch(autonomy.LOOK))
            self._read(rows, started)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await heard.wait()

    def _lost(self, heard: asyncio.Event) -> None:
        self._seen = float("-inf")
        heard.set()

    def _read(self, rows: list[Any], started: float) -> None:
        modes: dict[str, GateMode] = {row["scope"]: GateMode(row["mode"]) for row in rows}
        shut: dict[str, GateMode] = {
            scope: mode for scope, mode in modes.items() if STRICTNESS[mode]
        }
        if FLEET not in modes:
            shut |= _MISSING
        if self._standing and POLICY not in shut:
            shut[POLICY] = GateMode.READ_ONLY
        if shut != self._shut:
            log.info("gate.seen", shut={scope: str(mode) for scope, mode in shut.items()})
        self._shut, self._seen = shut, started


def _scopes(held: Held, tool: str) -> tuple[str, ...]:
    return FLEET, POLICY, f"tenant:{held.tenant}", f"pipeline:{held.pipeline}", tool
