"""A roll-back: which writes of a run are taken back, by what, in which order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from models.database import hot
from models.ledger import SNAPSHOT, UNDO, EntryState
from models.run import StopReason
from tools.tool import Snapshot, Tool
from worker.checkpoint import FENCE
from worker.outcome import LostLease, ToolFailed
from worker.record import Record


@dataclass(frozen=True, slots=True)
class Undoing:
    """One write that is taken back, and by what."""

    of: str
    step: str
    tool: Tool[Any, Any]
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Undone:
    """A settled step that has been taken back."""

    run_id: UUID
    attempt: int
    step: str


def rollback(
    records: Sequence[Record], tools: Mapping[str, Tool[Any, Any]], *, to: str
) -> list[Undoing]:
    """What taking back every write after `to` comes to, the last one first.

    The same on every replay: what is undone already is in it too, and replays its record. What a
    fork has only replayed is its source's, and stays.

    Raises:
        ValueError: The run has not come to a step of that name.
        ToolFailed: One of the writes cannot be undone.
    """
    place = next((each.number for each in records if each.step == to), None)
    if place is None:
        raise ValueError(f"there is no step {to!r} to roll back to")
    # A snapshot stays: an undo may need it, and taking it back would restore nothing.
    kept = {each.step + SNAPSHOT for each in records if _snapshot(tools.get(each.tool or ""))}
    done = [
        each
        for each in records
        if each.number > place
        and each.state in {EntryState.SETTLED, EntryState.UNDONE}
        and each.copied_from is None  # another run's write, which only that may take back
        and each.effect not in {None, "read"}
        and not each.step.startswith(UNDO)
        and each.step not in kept
    ]
    by_step = {each.step: each for each in records}
    return [_undoing(each, by_step, tools) for each in sorted(done, key=lambda each: -each.number)]


def _snapshot(tool: Tool[Any, Any] | None) -> Snapshot[Any] | None:
    return None if tool is None or tool.undo is None else tool.undo.snapshot


def _undoing(
    record: Record, by_step: Mapping[str, Record], tools: Mapping[str, Tool[Any, Any]]
) -> Undoing:
    tool = tools.get(record.tool or "")
    if tool is None or tool.undo is None:
        raise ToolFailed(
            f"{record.tool} cannot be undone, so nothing was rolled back", StopReason.TOOL_DENIED
        )
    asked = tool.takes.model_validate_json(record.args or b"null")
    got = tool.gives.model_validate_json(record.result or b"null")
    known = [asked, got]
    if (snapshot := tool.undo.snapshot) is not None:
        before = by_step.get(record.step + SNAPSHOT)
        if before is None or before.state is not EntryState.SETTLED:
            told = f"{record.tool} has no snapshot to go back to, so nothing was rolled back"
            raise ToolFailed(told, StopReason.TOOL_DENIED)
        known.append(snapshot.tool.gives.model_validate_json(before.result or b"null"))
    return Undoing(record.step, UNDO + record.step, tool.undo.tool, tool.undo.arguments(*known))


_UNDO = f"""
    WITH m AS (SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[]) AS m(run_id, attempt, step)),
    {FENCE},
    entry AS (
        UPDATE ledger_entry e SET state = 'undone'
          FROM m JOIN fence ON fence.id = m.run_id
         WHERE (e.run_id, e.step) = (m.run_id, m.step) AND e.state IN ('settled', 'undone')
     RETURNING e.run_id, e.step)
    SELECT run_id, step FROM entry
"""  # noqa: S608  # composed of constants


async def undone(steps: Sequence[Undone]) -> list[BaseException | None]:
    """Mark settled steps as taken back; their results stay, for a replay comes by them again."""
    rows = await hot().fetch(
        _UNDO,
        [each.run_id for each in steps],
        [each.attempt for each in steps],
        [each.step for each in steps],
    )
    marked = {tuple(row) for row in rows}
    return [None if (each.run_id, each.step) in marked else LostLease() for each in steps]
