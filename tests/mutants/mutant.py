"""A mutant: one guard taken out, and the test that must notice."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """One guard taken out: `guard` in `file` becomes `without`."""

    promise: str
    removed: str
    file: str
    guard: str
    without: str
    test: str
