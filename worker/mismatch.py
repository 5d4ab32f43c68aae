"""A mismatch: what a step was asked by an earlier attempt, and what its pipeline asks of it now."""

import hashlib
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import orjson

from config.redaction import HIDDEN
from models.run import StopReason
from worker.outcome import Stop

_LINES = 10
_CHARS = 60
"""A longer value is told by its length and its hash, a longer pointer is cut."""
_ABSENT = object()
_WHY = "the pipeline is not deterministic, or was changed without a new version"


class Asked(NamedTuple):
    """What one step asks, as the ledger keeps it."""

    kind: str
    of: str | None
    """The tool, the decision or the like."""
    args: bytes | None

    def __str__(self) -> str:
        return f"{self.kind} {self.of}" if self.of else self.kind


class Mismatch(Stop):
    """A resumed run asks a step for something else than is on record."""

    def __init__(self, step: str, was: Asked, now: Asked | None) -> None:
        super().__init__(
            StopReason.REPLAY_MISMATCH,
            f"step {step!r} asks for other things than an earlier attempt did: {_WHY}",
        )
        self._was, self._now = was, now

    def shown(self, redact: Callable[[Any], Any]) -> str:
        """The sentence, and a line for each field that differs, by JSON pointer."""
        if self._now is None:
            return f"{self.detail}\n  on record: {self._was}"
        other = (self._was.kind, self._was.of) != (self._now.kind, self._now.of)
        of = f"on record: {self._was}, now: {self._now}" if other else str(self._was)
        lines = list(_lines(self._was.args, self._now.args, redact))
        if not lines and not other:
            lines = ["no field differs, so it is what is not kept: a remembered value, say"]
        return "\n  ".join([self.detail, of, *lines])


def passed_over(step: str, tool: str | None) -> Stop:
    """A write is on record, and the pipeline has come to its end without it."""
    told = f"step {step!r} ({tool}) is on record, and the pipeline never came to it: {_WHY}"
    return Stop(StopReason.REPLAY_MISMATCH, told)


class _Difference(NamedTuple):
    pointer: str
    was: str
    now: str


def _lines(was: bytes | None, now: bytes | None, redact: Callable[[Any], Any]) -> Iterator[str]:
    pair = tuple(orjson.loads(each or b"null") for each in (was, now))
    found = _differences("", *pair, *(redact(each) for each in pair))
    for each in islice(found, _LINES):
        pointer = each.pointer if len(each.pointer) <= _CHARS else f"{each.pointer[:_CHARS]}..."
        yield f"{pointer or '/'}: {each.was} -> {each.now}"
    if more := sum(1 for _ in found):
        yield f"and {more} more"


def _differences(
    at: str, was: Any, now: Any, was_seen: Any, now_seen: Any
) -> Iterator[_Difference]:
    """Where two documents differ, as people may see it; `..._seen` are the redacted ones."""
    if isinstance(was, dict) and isinstance(now, dict):
        parts: list[Any] = sorted(was.keys() | now.keys())
    elif isinstance(was, list) and isinstance(now, list):
        parts = list(range(max(len(was), len(now))))
    else:
        if was is _ABSENT or now is _ABSENT or orjson.dumps(was) != orjson.dumps(now):
            yield _Difference(at, _shown(was, was_seen), _shown(now, now_seen))
        return
    for part in parts:
        name = str(part).replace("~", "~0").replace("/", "~1")
        both = (_part(was, part), _part(now, part))
        seen = (_part(was_seen, part), _part(now_seen, part))
        yield from _differences(f"{at}/{name}", *both, *seen)


def _part(value: Any, part: Any) -> Any:
    """A member; what is hidden whole stays hidden."""
    if isinstance(value, dict):
        return value.get(part, _ABSENT)
    if isinstance(value, list):
        return value[part] if part < len(value) else _ABSENT
    return value


def _shown(value: Any, seen: Any) -> str:
    if value is _ABSENT:
        return "absent"
    if seen == HIDDEN:
        return HIDDEN
    text = orjson.dumps(seen).decode()
    if len(text) <= _CHARS:
        return text
    what = f"{type(value).__name__} of {len(value):,}" if hasattr(value, "__len__") else "a number"
    if seen != value:  # a hash of what is hidden would help to guess it
        return what
    return f"{what}, sha256 {hashlib.sha256(orjson.dumps(value)).hexdigest()[:8]}"
