"""A warrant: what a person has allowed, as an intent looks it up."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID


class Warrant(NamedTuple):
    """A verdict that lets one call leave."""

    digest: bytes | None
    """Of exactly its arguments, as the verdict has them."""
    proposal: UUID | None = None
    """The review of a proposal; None: the approval stands under the same run and step."""
    behalf: str | None = None
    """A proposal's: the pipeline that made it, whose policy and gate the call is under as well."""


class Mandate(NamedTuple):
    """What an approved proposal says is to be done, and nothing else."""

    proposal: UUID
    pipeline: str
    """Which made it, in that version."""
    version: int
    tool: str
    written: bytes
    """The arguments, byte for byte as they were approved, or edited."""
    edited: bool
    proposed: bytes
    """As they were proposed,"""
    labels: bytes | None = None
    """and where those came from."""


NONE = Warrant(None)


def turns(warrants: Sequence[Warrant | None]) -> list[list[int]]:
    """Which members of a batch may be committed together, by place: one proposal is in a turn once.

    One statement sees a proposal as it was before all of them; the next sees whose it is now.
    """
    taken: list[list[int]] = [[]]
    met: Counter[UUID] = Counter()
    for place, warrant in enumerate(warrants):
        turn = 0
        if warrant is not None and warrant.proposal is not None:
            turn = met[warrant.proposal]
            met[warrant.proposal] += 1
        if turn == len(taken):
            taken.append([])
        taken[turn].append(place)
    return taken
