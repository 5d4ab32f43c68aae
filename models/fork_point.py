"""A fork's point: the first step that is made anew, and what stands in its way."""

from collections.abc import Sequence
from typing import Any

import orjson

from models.ledger import SNAPSHOT, UNDO, EntryState, StepKind
from models.request import Refused
from models.run import RunStatus, StopReason

NAMED = 20
"""How many steps one refusal lists."""
_OVER = frozenset({EntryState.SETTLED, EntryState.REJECTED, EntryState.UNDONE})


class Unforkable(Refused):
    """This run, or this step of it, is nothing that another run could go on from."""

    code = "unforkable"


def first_anew(step: str, status: str, entries: Sequence[Any]) -> Any:
    """The entry of the first step that is made anew: of a write with a snapshot, the snapshot's,
    for the source's tells what stood there before the source wrote.

    Raises:
        Unforkable: The run is not over, or this step is none that another run could go on from.
    """
    if status != RunStatus.FINISHED:
        raise Unforkable(f"this run is {status}: wait until it is over, or cancel it")
    if doubts := [e["step"] for e in entries if _doubtful(e)]:
        raise Unforkable(
            f"nobody knows yet whether {listed(doubts)} happened: settle that first, with"
            " `sluice reviews --kind in_doubt`"
        )
    first = next((each for each in entries if each["step"] == step), None)
    if first is None or step.startswith(UNDO):
        names = [each["step"] for each in entries if _begins(each["step"], entries)]
        raise Unforkable(
            f"{step!r} is no step of this run's pipeline on record; there are:"
            f" {listed(names) or 'none'}"
        )
    first = next((each for each in entries if each["step"] == step + SNAPSHOT), first)
    before = [each for each in entries if each["number"] < first["number"]]
    for each in before:
        if each["kind"] != StepKind.CALL and step.startswith(f"{each['step']}/"):
            raise Unforkable(f"{step!r} is a part of {each['step']!r}: fork from that")
        if each["state"] not in _OVER:
            raise Unforkable(f"{each['step']!r} before it was never finished: fork from that")
    later = {each["step"] for each in entries if each["number"] >= first["number"]}
    for each in before:
        if UNDO + each["step"] in later:
            raise Unforkable(
                f"{each['step']!r} before it was taken back later: fork from that, or before it"
            )
    return first


def _begins(step: str, entries: Sequence[Any]) -> bool:
    """A step of the pipeline, and no part of a saying before it, nor an undo."""
    sayings = (each["step"] for each in entries if each["kind"] != StepKind.CALL)
    return not step.startswith(UNDO) and not any(step.startswith(f"{each}/") for each in sayings)


def _doubtful(entry: Any) -> bool:
    unknown = entry["state"] in {EntryState.RESERVED, EntryState.IN_DOUBT}
    return unknown and entry["effect"] not in {None, "read"}


def written_from(entries: Sequence[Any], first: int) -> list[str]:
    """What the source has left behind from a step on, and has not taken back."""
    return [
        each["step"]
        for each in entries
        if each["number"] >= first
        and not each["step"].startswith(UNDO)
        and (each["effect"] not in {None, "read"} or each["kind"] == StepKind.REMEMBER)
        and (each["state"] == EntryState.SETTLED or _given_up(each))
    ]


def _given_up(entry: Any) -> bool:
    """A write in doubt that a person gave up: it may have happened."""
    if entry["state"] != EntryState.REJECTED:
        return False
    return bool(orjson.loads(entry["error"] or b"{}").get("reason") == StopReason.IN_DOUBT)


def listed(steps: Sequence[str]) -> str:
    told = ", ".join(repr(each) for each in steps[:NAMED])
    return f"{told} and {len(steps) - NAMED} more" if len(steps) > NAMED else told
