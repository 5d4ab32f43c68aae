"""A held run: what this worker knows of a run while it has the lease."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from uuid import UUID

from config.policy import LoopDetection
from models.autonomy import Autonomy
from models.budget import Budget, Usage
from models.run import StopReason
from worker.labels.provenance import Provenance
from worker.outcome import Stop
from worker.pace import Pace
from worker.record import Record
from worker.repetition import Repetition
from worker.ruling import Ruling

_USUAL = LoopDetection()


@dataclass(slots=True, eq=False)
class Held:
    """A run that this worker holds, and what it knows of it. Gone with the attempt."""

    id: UUID
    attempt: int
    tenant: str
    pipeline: str
    version: int
    subject: str | None
    input: bytes
    budget: Budget
    usage: Usage
    bugs: int
    started: float
    """On the monotonic clock, before the claim was sent."""
    active_before_s: float
    record: dict[str, Record] = field(default_factory=dict)
    """The ledger as earlier attempts left it, by step."""
    names: set[str] = field(default_factory=set)
    calls_of: dict[str, int] = field(default_factory=dict)
    unique: set[bytes] = field(default_factory=set)
    """Of tool and arguments together."""
    repetition: Repetition = field(default_factory=lambda: Repetition(_USUAL))
    pace: Pace = field(default_factory=Pace)
    provenance: Provenance = field(default_factory=Provenance)
    autonomy: Autonomy = Autonomy.ACT
    precautions: set[str] = field(default_factory=set)
    """Steps that are snapshots: who may make the write may make those."""
    partial: bytes | None = None
    forked: bool = False
    """Its record begins with copies of another run's."""
    leaving: bool = False
    """The worker shuts down: leave at the next step."""
    lost: bool = False
    """It left this worker without a departure; what is still ours in the table is adopted."""
    undoing: bool = False
    """It takes writes back: whatever is left of its budget, that is brought to its end."""
    limit: asyncio.Timeout | None = None
    """Its budget of time."""
    cancelled: bool = False
    """Somebody wants it to end."""
    departing: bool = False
    """Its outcome is known and on its way into the row; nothing is left to interrupt."""

    def active_s(self) -> float:
        return self.active_before_s + time.monotonic() - self.started

    def trial(self) -> "Held":
        """A copy to count on: what is counted there, or goes in circles, is not held against us."""
        return replace(
            self,
            usage=replace(self.usage),
            calls_of=dict(self.calls_of),
            unique=set(self.unique),
            repetition=self.repetition.anew(),
            provenance=self.provenance.copy(),
        )

    def begin(self, *, fresh: bool, calls: int = 0) -> None:
        """Count a step that is about to start, or stop the run at the ceiling it would break."""
        self.usage.seconds = self.active_s()
        if fresh:
            self.usage.steps += 1
            self.usage.calls += calls
        self._within_budget()

    @contextmanager
    def without_ceilings(self) -> Iterator[None]:
        """While writes are taken back, neither money nor time of the run's own budget ends it."""
        until = self.limit.when() if self.limit else None
        self.undoing = True
        if self.limit is not None:
            self.limit.reschedule(None)
        try:
            yield
        finally:
            self.undoing = False
            if self.limit is not None:
                self.limit.reschedule(until)

    def met(self, tool: str, digest: bytes) -> None:
        """Count a call of a tool; one that is replayed counts as well."""
        self.calls_of[tool] = self.calls_of.get(tool, 0) + 1
        self.unique.add(digest)

    def meet(self, tool: str, digest: bytes, ruling: Ruling) -> None:
        """Count a call that is about to be made, or stop at the policy's ceiling for such calls."""
        self.met(tool, digest)
        if self.undoing:
            return
        most = ruling.most_unique
        if most is not None and len(self.unique) > most:
            raise Stop(StopReason.TOOL_BUDGET, f"ceiling of {most} different calls")
        most = ruling.most_calls
        if most is not None and self.calls_of[tool] > most:
            raise Stop(StopReason.TOOL_BUDGET, f"ceiling of {most} calls of {tool}")

    def reserve(self, usd: Decimal, tokens: int = 0) -> None:
        """Count the most that a call may use; negative amounts give it back."""
        self.usage.usd += usd
        self.usage.tokens += tokens
        if usd > 0 or tokens > 0:
            self._within_budget()

    def _within_budget(self) -> None:
        if self.undoing:
            return
        broken = self.budget.exceeded_by(self.usage)
        if broken is not None:
            raise Stop(
                broken, f"the next step would break its budget of {self.budget.told(broken)}"
            )
