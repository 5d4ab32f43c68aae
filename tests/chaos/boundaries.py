"""Boundaries: every request that a run sends, seen from outside, and a blow at one of them.

A worker speaks to PostgreSQL and to the desk through doors of ours (doors.py). Each request of a
run is a boundary, named by what it says and by how often that was said before (`settle#2`). A watch
lets everything pass, and strikes once: it kills the worker's process group, or cuts the connection.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from tests.chaos.frames import CLAIM, Request
from tests.chaos.nursery import lives

_DEATH_S = 10.0
_ARRIVAL_S = 8.0


class Moment(StrEnum):
    """When the blow falls. That a server acts while it is under way cannot be seen from outside."""

    BEFORE = "before"  # the request is dropped
    ANSWERED = "answered"  # the server has done it, and the answer is dropped
    AFTER = "after"  # the answer was passed on, and nothing that followed it
    LATE = "late"  # the request arrives when the next worker has claimed the run


class Blow(StrEnum):
    KILL = "SIGKILL"
    CUT = "connection cut"


class Boundary(NamedTuple):
    """One request of an undisturbed run."""

    label: str
    alone: bool
    """Not inside an open transaction, whose locks would keep the next worker out."""
    query: bool


class Strike(NamedTuple):
    label: str
    moment: Moment
    blow: Blow = Blow.KILL

    def __str__(self) -> str:
        return f"{self.blow} {self.moment} {self.label}"


def strikes(path: Sequence[Boundary]) -> list[Strike]:
    """Every blow at every moment of every boundary."""
    kills = (Moment.BEFORE, Moment.ANSWERED, Moment.AFTER)
    return [
        *(Strike(each.label, moment) for each in path for moment in kills),
        *(Strike(each.label, Moment.LATE) for each in path if each.query and each.alone),
        *(Strike(each.label, moment, Blow.CUT) for each in path for moment in kills[:2]),
    ]


class Struck(Exception):
    """This connection is over."""


@dataclass
class Watch:
    """Sees every request of one worker, and strikes at most once."""

    pid: int = 0
    strike: Strike | None = None
    seen: list[Boundary] = field(default_factory=list)
    may_claim: asyncio.Event = field(default_factory=asyncio.Event)
    """Shut, the worker's claims wait here: it takes nothing."""
    struck: asyncio.Event = field(default_factory=asyncio.Event)
    before_me: "Watch | None" = None
    """Of the worker whose late request is passed on once this one has the run."""
    under_way: int = 0
    """Boundaries that were asked and are not answered yet."""
    _met: Counter[str] = field(default_factory=Counter)
    _holds_back: bool = False
    _let_go: asyncio.Event = field(default_factory=asyncio.Event)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def killed(self) -> bool:
        """By us; then nothing of what it had said is passed on, but for what is to be late."""
        return self.struck.is_set() and self.strike is not None and self.strike.blow is Blow.KILL

    async def arm(self, strike: Strike | None) -> None:
        """Begin a new run: count from one again, once nothing of the last one is under way."""
        self.may_claim.clear()
        await self.rest()
        self.strike = strike
        self.seen.clear()
        self._met.clear()
        self.struck.clear()

    async def rest(self) -> None:
        """Return once nothing is under way that belongs to a run."""
        while self.under_way > 0:
            await asyncio.sleep(0.002)

    async def ask(self, request: Request, *, query: bool) -> Boundary | None:
        """Before a request is passed on; return the boundary that it is.

        Raises:
            Struck: It must not be passed on.
        """
        while self._holds_back:
            await asyncio.sleep(0.002)
        if self.killed:
            raise Struck
        if request.name is None:
            return None
        if request.name == CLAIM:
            await self.may_claim.wait()
            if self.killed:
                raise Struck
        label = f"{request.name}#{self._met[request.name] + 1}"
        if request.name != CLAIM:  # which is one only when it takes something
            self._met[request.name] += 1
        boundary = Boundary(label, request.alone, query)
        if self._meets(boundary, Moment.BEFORE):
            self._blow()
            raise Struck
        if self._meets(boundary, Moment.LATE):
            self._blow()
            await self._let_go.wait()
        return boundary

    async def answered(self, boundary: Boundary, *, rows: bool) -> None:
        """When the server has answered, before the answer is passed on."""
        if self._meets(boundary, Moment.LATE):
            self._arrived.set()
            raise Struck
        if boundary.label.startswith(f"{CLAIM}#"):
            if not rows:
                return
            self._met[CLAIM] += 1
            if self.strike is not None and not self.struck.is_set():
                self.may_claim.clear()
            if self.before_me is not None:
                await self.before_me.arrive()
        self.seen.append(boundary)
        if self._meets(boundary, Moment.ANSWERED):
            self._blow()
            raise Struck
        self._holds_back = self._meets(boundary, Moment.AFTER)

    async def passed(self) -> None:
        """When the answer was passed on."""
        if self._holds_back:
            await asyncio.sleep(0.01)  # so that it is read
            self._blow()
            self._holds_back = False
            raise Struck

    async def arrive(self) -> None:
        """Pass a late request on, and wait until the server has answered it."""
        if self.strike and self.strike.moment is Moment.LATE and self.struck.is_set():
            self._let_go.set()
            await asyncio.wait_for(self._arrived.wait(), _ARRIVAL_S)

    def _meets(self, boundary: Boundary, moment: Moment) -> bool:
        aim = self.strike
        return (
            aim is not None
            and (aim.label, aim.moment) == (boundary.label, moment)
            and (moment is Moment.LATE or not self.struck.is_set())
        )

    def _blow(self) -> None:
        """Nothing else goes on in this process until the worker is dead."""
        assert self.strike is not None
        if self.strike.blow is Blow.KILL:
            os.killpg(self.pid, signal.SIGKILL)
            give_up = time.monotonic() + _DEATH_S
            while lives(self.pid):
                assert time.monotonic() < give_up, "it does not die"
                time.sleep(0.001)
        self.struck.set()
        self.may_claim.set()
