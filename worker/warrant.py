"""A warrant: what a person has allowed, as an intent looks it up."""

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
