"""A probe: one run of the kit's pipeline, and what must be seen of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from models.guard import Guard
from models.run import StopReason, WaitingFor
from worker.trials.kit import Line


class Scene(StrEnum):
    """What stands around a probe."""

    PLAIN = "plain"
    SHUT = "shut"  # the gate of the shadow tenant, and this process has seen it
    SHUT_UNSEEN = "shut_unseen"  # just now: only the table knows
    ILL = "ill"  # an operator holds the tool's breaker open
    ALONE = "alone"  # without Redis: what this process sees by itself
    APPROVED = "approved"  # somebody says yes to what the run asks
    RESUMED = "resumed"  # the first worker shuts down, and another goes on


class Seen(NamedTuple):
    """What is to be seen of a run, or was."""

    stands: str
    """Its stop reason, or what it waits for."""
    ledger: tuple[str, ...]
    """The states of its steps."""
    reached: int
    """How often a tool was."""
    said: tuple[tuple[Guard, str], ...] = ()
    """The audit's lines: which guard, and the stop reason or what is waited for."""

    def other(self, expected: "Seen") -> str:
        """What is not as expected, as a sentence; empty when all is."""
        told = [
            f"{what}: expected {_plain(wanted)}, saw {_plain(found)}"
            for what, wanted, found in zip(_WHAT, expected, self, strict=True)
            if wanted != found
        ]
        return "; ".join(told)


_WHAT = ("the run", "its steps", "calls that reached a tool", "the audit")


@dataclass(frozen=True, slots=True)
class Probe:
    what: str
    """What is tried, as in `a write while ...`."""
    lines: Sequence[Line]
    expected: Seen
    policy: Mapping[str, Any]
    scene: Scene = Scene.PLAIN


@dataclass(frozen=True, slots=True)
class Trial:
    """Of one guard: what it must refuse, and what it must let pass, for one that refuses everything
    is no guard either."""

    guard: Guard
    probes: Sequence[Probe]
    writes: bool = False
    """Some of it cannot be tried in safe mode."""

    @property
    def told(self) -> str:
        return "; ".join(each.what for each in self.probes)


def refused(
    guard: Guard, by: StopReason | WaitingFor, *ledger: str, reached: int = 0
) -> Seen:  # fmt: skip
    """What a refusal looks like."""
    return Seen(by, ledger, reached, ((guard, by),))


def passed(*ledger: str, reached: int) -> Seen:
    """What a run looks like that nobody refused anything."""
    return Seen(StopReason.SUCCESS, ledger, reached)


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(" ".join(each) if isinstance(each, tuple) else each for each in value) or (
            "nothing"
        )
    return str(value)
