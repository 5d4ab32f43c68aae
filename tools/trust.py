"""Trust: who chose a value, and therefore where it may go."""

from collections.abc import Iterable
from enum import IntEnum


class Trust(IntEnum):
    """Of a value; and of an argument: the least that its value needs."""

    UNTRUSTED = 0  # text from outside, or from a model, in whatever words it likes
    ENDORSED = 1  # text from outside may have chosen it, among few: its bits are counted
    TRUSTED = 2  # ours, or an authenticated client's


def covers(pattern: str, pointer: str) -> bool:
    """Whether a declared JSON pointer means a leaf: it, or all below it; `*` is any one part."""
    wanted, parts = pattern.split("/"), pointer.split("/")
    return len(wanted) <= len(parts) and all(
        each in {"*", part} for each, part in zip(wanted, parts, strict=False)
    )


def closest(patterns: Iterable[str], pointer: str) -> str | None:
    """The declared pointer that means a leaf the most closely."""
    return max((each for each in patterns if covers(each, pointer)), key=_nearness, default=None)


def escaped(name: str) -> str:
    """A name as one part of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def _nearness(pattern: str) -> tuple[int, list[bool]]:
    """By parts, not by letters: `/a` is nearer than `/*`, whichever is declared first."""
    parts = pattern.split("/")
    return len(parts), [each != "*" for each in parts]
