"""A snapshot: what is kept of a target before a write that may have to be taken back."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic import BaseModel

from models.ledger import EntryState
from tools.tool import Snapshot
from worker.labels.binding import fixed
from worker.record import Record
from worker.warrant import Warrant


class Precaution:
    """The snapshot of one write: taken once nothing but the write itself is left to do.

    So a call that is refused, that waits for a person, or that is not made at all takes none.
    """

    def __init__(
        self,
        snapshot: Snapshot[Any],
        record: Record | None,
        make: Callable[[Mapping[str, Any], Warrant | None], Awaitable[Any]],
    ) -> None:
        """`record`: as earlier attempts left it; `make` does the step, or replays it."""
        self._snapshot, self._record, self._make = snapshot, record, make
        self._taken = False

    async def replay(self, args: BaseModel, under: Warrant | None) -> None:
        """Come by it again where it is over: if it failed, nobody is asked about its write.

        One in doubt is brought to its end, whatever becomes of the write.
        """
        if self._record is not None and self._record.state is not EntryState.RELEASED:
            await self.take(args, under)

    async def take(self, args: BaseModel, under: Warrant | None) -> None:
        """Make it, if it was not made. Its arguments were judged, or approved, as the write's own.

        `under`: the warrant of a write that carries out a proposal; it is the snapshot's too.

        Raises:
            ToolFailed: It could not be made, so the write must not be.
        """
        if not self._taken:
            self._taken = True
            given = self._snapshot.arguments(args)
            await self._make({name: fixed(value) for name, value in given.items()}, under)
