"""Sinks: which arguments of a call need which trust, and whether their values have it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from pydantic import BaseModel
from pydantic_core import from_json

from tools.tool import Tool
from tools.trust import Trust, closest, escaped
from worker.labels.binding import Binding
from worker.labels.capacity import capacity, spread
from worker.labels.label import Label, endorsed, joined
from worker.labels.provenance import Provenance
from worker.labels.standing import derived, leaves, stands

_PLAIN = (str, int, float, bool, type(None))


class Bound(NamedTuple):
    """What a reference came to."""

    value: Any
    label: Label


class Judged(NamedTuple):
    """What the labels of a call's arguments come to."""

    labels: bytes | None = None
    """For the ledger: by JSON pointer of the argument."""
    faults: tuple[str, ...] = ()
    """Why text from outside would choose what it must not: a person decides."""


UNJUDGED = Judged()


def bound(
    arguments: Mapping[str, Any], provenance: Provenance
) -> tuple[Mapping[str, Any], dict[str, Bound]]:
    """The arguments with every binding resolved, and what those came to, by JSON pointer."""
    if all(isinstance(each, _PLAIN) for each in arguments.values()):
        return arguments, {}
    found: dict[str, Bound] = {}
    given = {
        name: _resolved(value, f"/{escaped(name)}", provenance, found)
        for name, value in arguments.items()
    }
    return given, found


def judged(
    tool: Tool[Any, Any],
    args: BaseModel,
    sinks: Mapping[str, Trust] | None,
    passed: bytes,
    given: Mapping[str, Bound],
    *,
    step: str,
    proposed: bool,
    provenance: Provenance,
    max_bits: float,
) -> Judged:
    """Hold the arguments that were passed against the sinks, the tool's own and the policy's.

    A tool without declared sinks is the pipeline author's word for "any value will do". To what a
    model proposes that does not extend: of a write, each argument then needs to be trusted.
    """
    if sinks is None:
        if not (proposed and tool.writes):
            return UNJUDGED
        sinks = {}
    found = _labels(tool, args, from_json(passed), given, step)
    faults: list[str] = []
    said: dict[str, float] = {}
    for pointer, label in found.items():
        sink = closest(sinks, pointer)
        needed = Trust.TRUSTED if sink is None else sinks[sink]
        if label.trust < needed:
            faults.append(f"{pointer} needs to be {needed.name.lower()}, and is {_told(label)}")
        if needed > Trust.UNTRUSTED:
            said |= label.bits
    if tool.writes:
        bits = provenance.say(said, step)
        if said and bits > max_bits:
            faults.append(f"text from outside would have chosen {bits:.1f} of {max_bits:g} bits")
    told = orjson.dumps({pointer: label.document() for pointer, label in found.items()})
    return Judged(told, tuple(faults))


def _labels(
    tool: Tool[Any, Any], args: BaseModel, passed: Any, given: Mapping[str, Bound], step: str
) -> dict[str, Label]:
    """Of each leaf: by its reference, or by what its type lets anybody say.

    Where a contract's own code put another value than was bound there, or one of its own, it may
    have made that of any of the arguments.
    """
    # No argument at all is none that anybody chose.
    places = {leaf: _nearest(given, leaf) for leaf in leaves(passed) if leaf}
    labels = {
        leaf: _typed(tool, leaf, step) if by is None else _bound(tool, by, given[by].label, step)
        for leaf, by in places.items()
    }
    moved = {by for by in given if not stands(tool.takes, passed, by, given[by].value)}
    changed = [leaf for leaf, by in places.items() if by in moved]
    changed += derived(args)
    if changed:
        anything = joined(
            [*labels.values(), *(each.label for each in given.values())], "a contract"
        )
        labels |= dict.fromkeys(changed, anything)
    return labels


def _nearest(given: Mapping[str, Bound], pointer: str) -> str | None:
    """The reference at a place, or at the closest above it; names are names here, `*` as well."""
    while pointer not in given:
        if not pointer:
            return None
        pointer = pointer.rpartition("/")[0]
    return pointer


def _typed(tool: Tool[Any, Any], pointer: str, step: str) -> Label:
    """What anybody could say there: the value, how long its list is, how its map names it."""
    takes: type[BaseModel] = tool.takes
    label = endorsed(f"{step}:{pointer}", capacity(takes, pointer), takes.__name__)
    more = [endorsed(f"{step}:{at}", bits, "") for at, bits in spread(takes, pointer)]
    return joined([label, *more], takes.__name__) if more else label


def _bound(tool: Tool[Any, Any], pointer: str, label: Label, step: str) -> Label:
    """A name in a map is no part of what a reference vouches for."""
    takes: type[BaseModel] = tool.takes
    names = [endorsed(f"{step}:{at}", bits, "") for at, bits in spread(takes, pointer, lists=False)]
    return joined([label, *names], label.by) if names else label


def _resolved(value: Any, at: str, provenance: Provenance, found: dict[str, Bound]) -> Any:
    if isinstance(value, Binding):
        found[at] = Bound(*value.resolve(provenance))
        return found[at].value
    if isinstance(value, dict):
        return {
            name: _resolved(each, f"{at}/{escaped(str(name))}", provenance, found)
            for name, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_resolved(each, f"{at}/{n}", provenance, found) for n, each in enumerate(value)]
    return value


def _told(label: Label) -> str:
    of = f" (of {', '.join(sorted(label.sources))})" if label.sources else ""
    return f"{label.trust.name.lower()}{of}"
