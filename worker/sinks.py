"""Sinks: which arguments of a call need which trust, and whether their values have it."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson
from pydantic import BaseModel

from tools.tool import Tool
from tools.trust import Trust, closest
from worker.binding import Binding
from worker.capacity import capacity
from worker.labels import Label, endorsed
from worker.provenance import Provenance

_PLAIN = (str, int, float, bool, type(None))


class Judged(NamedTuple):
    """What the labels of a call's arguments come to."""

    labels: bytes | None = None
    """For the ledger: by JSON pointer of the argument."""
    faults: tuple[str, ...] = ()
    """Why text from outside would choose what it must not: a person decides."""


UNJUDGED = Judged()


def bound(
    arguments: Mapping[str, Any], provenance: Provenance
) -> tuple[Mapping[str, Any], dict[str, Label]]:
    """The arguments with every binding resolved, and the labels of those, by JSON pointer."""
    if all(isinstance(each, _PLAIN) for each in arguments.values()):
        return arguments, {}
    labels: dict[str, Label] = {}
    given = {
        name: _resolved(value, f"/{_escaped(name)}", provenance, labels)
        for name, value in arguments.items()
    }
    return given, labels


def judged(
    tool: Tool[Any, Any],
    sinks: Mapping[str, Trust] | None,
    passed: bytes,
    labels: Mapping[str, Label],
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
    found = {
        pointer: _label(tool, pointer, labels, step)
        for pointer in _leaves(orjson.loads(passed))
        if pointer  # no argument at all is none that anybody chose
    }
    faults: list[str] = []
    said: dict[str, float] = {}
    for pointer, label in found.items():
        sink = closest(sinks, pointer)
        needed = Trust.TRUSTED if sink is None else sinks[sink]
        if label.trust < needed:
            faults.append(f"{pointer} needs to be {needed.name.lower()}, and is {_told(label)}")
        if needed > Trust.UNTRUSTED:
            said |= label.bits
    if tool.writes and said:
        bits = provenance.say(said)
        if bits > max_bits:
            faults.append(f"text from outside would have chosen {bits:.1f} of {max_bits:g} bits")
    told = orjson.dumps({pointer: label.document() for pointer, label in found.items()})
    return Judged(told, tuple(faults))


def _label(
    tool: Tool[Any, Any], pointer: str, labels: Mapping[str, Label], step: str
) -> Label:  # fmt: skip
    """By reference, or by what its type lets anybody say."""
    by = closest(labels, pointer)
    if by is not None:
        return labels[by].said_at(f"{step}:{by}")
    takes: type[BaseModel] = tool.takes
    return endorsed(f"{step}:{pointer}", capacity(takes, pointer), takes.__name__)


def _leaves(value: Any, at: str = "") -> Iterator[str]:
    if isinstance(value, dict) and value:
        for name, each in value.items():
            yield from _leaves(each, f"{at}/{_escaped(name)}")
    elif isinstance(value, list) and value:
        for n, each in enumerate(value):
            yield from _leaves(each, f"{at}/{n}")
    else:
        yield at


def _resolved(value: Any, at: str, provenance: Provenance, labels: dict[str, Label]) -> Any:
    if isinstance(value, Binding):
        found, labels[at] = value.resolve(provenance)
        return found
    if isinstance(value, dict):
        return {
            name: _resolved(each, f"{at}/{_escaped(str(name))}", provenance, labels)
            for name, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_resolved(each, f"{at}/{n}", provenance, labels) for n, each in enumerate(value)]
    return value


def _told(label: Label) -> str:
    of = f" (of {', '.join(sorted(label.sources))})" if label.sources else ""
    return f"{label.trust.name.lower()}{of}"


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
