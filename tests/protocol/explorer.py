"""An explorer: walks every state that a model can reach, and says how it came to a bad one."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

S = TypeVar("S")


class Move(NamedTuple, Generic[S]):
    """Something that may happen next."""

    who: str
    does: str
    after: S
    fault: bool = False
    """Faults may stop; what must still be possible then is checked without them."""


@dataclass(frozen=True)
class Model(Generic[S]):
    """A system: where it starts, what may happen in each state, and what must hold."""

    initial: S
    moves: Callable[[S], Iterable[Move[S]]]
    always: Mapping[str, Callable[[S], bool]]
    """Must hold in each state."""
    between: Mapping[str, Callable[[S, S], bool]]
    """Must hold between each state and the next."""
    over: Callable[[S], bool]
    """Where every state must be able to come to, once faults have stopped."""
    comes_to_an_end: str
    """The name of that promise."""


@dataclass(frozen=True)
class Counterexample(Generic[S]):
    """The shortest way from the beginning to a broken promise."""

    broken: str
    path: Sequence[tuple[Move[S] | None, S]]


@dataclass
class Exploration(Generic[S]):
    """What was seen, and the first thing that was wrong."""

    states: int = 0
    transitions: int = 0
    seconds: float = 0.0
    seen: Counter[str] = field(default_factory=Counter)
    """How often each thing happened."""
    found: Counterexample[S] | None = None


class Endless(Exception):
    """The model is larger than it should be."""


class Explorer(Generic[S]):
    """Breadth first, so that the first counterexample is a shortest one."""

    def __init__(
        self, model: Model[S], *, only: str | None = None, at_most: int = 1_000_000
    ) -> None:
        """With `only`, every other promise may be broken on the way."""
        self._at_most = at_most
        self._model = model
        self._always = _chosen(model.always, only)
        self._between = _chosen(model.between, only)
        self._must_end = only is None or only == model.comes_to_an_end
        self._number: dict[S, int] = {}
        self._states: list[S] = []
        self._came: list[tuple[int, Move[S] | None]] = []
        self._calm_before: list[list[int]] = []
        """From which states each is reached without a fault."""

    def explore(self) -> Exploration[S]:
        """Visit every state, or all up to the first broken promise."""
        started = time.monotonic()
        result = Exploration[S]()
        broken = self._visit(self._model.initial, -1, None)
        queue = deque([0])
        while queue and broken is None:
            if len(self._states) > self._at_most:
                raise Endless(
                    f"more than {self._at_most} states: something goes on without a fault"
                )
            here = queue.popleft()
            known = len(self._states)
            broken = self._leave(here, result)
            queue.extend(range(known, len(self._states)))
        if broken is None and self._must_end:
            broken = self._stuck()
        if broken is not None:
            result.found = Counterexample(*broken)
        result.states = len(self._states)
        result.seconds = time.monotonic() - started
        return result

    def _leave(
        self, here: int, result: Exploration[S]
    ) -> tuple[str, list[tuple[Move[S] | None, S]]] | None:
        state = self._states[here]
        for move in self._model.moves(state):
            result.transitions += 1
            result.seen[move.does] += 1
            broken = [name for name, holds in self._between.items() if not holds(state, move.after)]
            if broken:
                return broken[0], [*self._path(here), (move, move.after)]
            if move.after not in self._number:
                wrong = self._visit(move.after, here, move)
                if wrong is not None:
                    return wrong
            if not move.fault:
                self._calm_before[self._number[move.after]].append(here)
        return None

    def _visit(
        self, state: S, before: int, move: Move[S] | None
    ) -> tuple[str, list[tuple[Move[S] | None, S]]] | None:
        self._number[state] = len(self._states)
        self._states.append(state)
        self._came.append((before, move))
        self._calm_before.append([])
        for name, holds in self._always.items():
            if not holds(state):
                return name, self._path(len(self._states) - 1)
        return None

    def _stuck(self) -> tuple[str, list[tuple[Move[S] | None, S]]] | None:
        """The first state from which no way leads to the end without another fault."""
        can_end = [self._model.over(state) for state in self._states]
        fresh = [number for number, ends in enumerate(can_end) if ends]
        while fresh:
            for before in self._calm_before[fresh.pop()]:
                if not can_end[before]:
                    can_end[before] = True
                    fresh.append(before)
        if all(can_end):
            return None
        return self._model.comes_to_an_end, self._path(can_end.index(False))

    def _path(self, number: int) -> list[tuple[Move[S] | None, S]]:
        path: list[tuple[Move[S] | None, S]] = []
        while number >= 0:
            before, move = self._came[number]
            path.append((move, self._states[number]))
            number = before
        return path[::-1]


C = TypeVar("C")


def _chosen(promises: Mapping[str, C], only: str | None) -> dict[str, C]:
    return {name: each for name, each in promises.items() if only is None or name == only}
