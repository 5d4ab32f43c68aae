"""A token: the mark of one try, which no other try ever bears, here or in any other process."""

import itertools
import os
from uuid import UUID

from asyncpg.pgproto import pgproto

_COUNT_BYTES = 6


class _Mint:
    """What the system's dice say once for each process, and then a count: `uuid4` asks each time.

    No clock is asked: one that is put back would mint the same again.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self._dice = os.urandom(16 - _COUNT_BYTES)
        self._numbers = itertools.count()

    def __call__(self) -> UUID:
        """As rows have them: made in C, and sent as it is."""
        made: UUID = pgproto.UUID(self._dice + next(self._numbers).to_bytes(_COUNT_BYTES))
        return made


token = _Mint()
os.register_at_fork(after_in_child=token.begin)  # or a child would mint what its parent does
