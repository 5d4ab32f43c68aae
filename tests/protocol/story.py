"""A story: a counterexample as a person reads it, line by line."""

from collections.abc import Iterator

from tests.protocol.explorer import Counterexample
from tests.protocol.state import NAMES, State, Worker

_WHO, _DOES = 14, 48


def told(found: Counterexample[State]) -> str:
    """Numbered lines, each with what it changed; the last one breaks the promise."""
    lines = []
    for number, (before, after) in enumerate(zip(found.path, found.path[1:], strict=False), 1):
        move = after[0]
        assert move is not None
        what = f"{move.does} (a fault)" if move.fault else move.does
        changed = "; ".join(_changes(before[1], after[1]))
        lines.append(f"{number:3}  {move.who:{_WHO}} {what:{_DOES}} {changed}".rstrip())
    return "\n".join([*lines, f"     broken: {found.broken}"])


def _changes(before: State, after: State) -> Iterator[str]:
    if before.runs != after.runs:
        yield f"runs for the key: {after.runs}"
    if before.run.status != after.run.status:
        yield f"run {after.run.status}"
    if before.entry != after.entry:
        entry = after.entry
        yield f"entry {entry.mark}, try {entry.token}" if entry.token else f"entry {entry.mark}"
    if before.effects != after.effects:
        yield f"effects at the target: {after.effects}"
    if before.gate != after.gate:
        yield f"gate {after.gate}"
    for name, old, new in zip(NAMES, before.workers, after.workers, strict=True):
        if _belief(old) != _belief(new):
            yield f"{name}: {_belief(new)}"


def _belief(worker: Worker) -> str:
    return f"{worker.stage} ({worker.knows})" if worker.knows else str(worker.stage)
