"""The rules of one exploration: a scenario, and the guards that have been taken out."""

from dataclasses import dataclass
from enum import StrEnum

from tests.protocol.explorer import Move
from tests.protocol.state import State

Moves = list[Move[State]]


class Effect(StrEnum):
    """`tools.tool.Effect`, as far as runs may use it."""

    READ = "read"
    WRITE = "write"
    WRITE_ONCE = "write_once"


@dataclass(frozen=True)
class Scenario:
    """What the step does, and what may go wrong meanwhile."""

    name: str
    about: str
    effect: Effect
    faults: int
    lookup: bool = False
    """The target can be asked what became of a write."""
    key_expires: bool = False
    flips: int = 0
    duplicates: bool = False
    """The request comes twice, and bells are doubled and lost."""


@dataclass(frozen=True)
class Rules:
    """A scenario, less the guards that were taken out."""

    scenario: Scenario
    without: frozenset[str] = frozenset()

    def guarded(self, name: str) -> bool:
        return name not in self.without

    @property
    def writes(self) -> bool:
        return self.scenario.effect is not Effect.READ
