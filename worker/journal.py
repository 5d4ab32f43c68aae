"""The journal: this process's batched verbs, one flusher for each."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from models.batcher import Batcher
from models.call_audit import Remark, note
from models.pulse import FAILURES, NOTHING, Beat
from worker.checkpoint import Entry, record, settle
from worker.departure import Departure, Partial, keep, leave
from worker.intent import intend
from worker.keeping import Found, Keeping, Wanted, find, keep_safe
from worker.parking import Parking, park
from worker.proposing import Proposing, propose
from worker.record import Record, load
from worker.rollback import Undone, undone
from worker.testimony import testify

_NO_USD = Decimal(0)


class Journal:
    """Where steps and departures are written; callers of the same moment share a statement."""

    def __init__(self, *, patience: timedelta) -> None:
        seconds = patience.total_seconds()
        self.load: Batcher[UUID, list[Record]] = Batcher(load, patience_s=seconds)
        self.record: Batcher[Entry, None] = Batcher(_plain(self._record), patience_s=seconds)
        self.intend: Batcher[Entry, None] = Batcher(_plain(intend), patience_s=seconds)
        self.settle: Batcher[Entry, None] = Batcher(_plain(self._settle), patience_s=seconds)
        self.testify: Batcher[Entry, None] = Batcher(_plain(testify), patience_s=seconds)
        self.undo: Batcher[Undone, None] = Batcher(_plain(undone), patience_s=seconds)
        self.keep: Batcher[Partial, None] = Batcher(_plain(keep), patience_s=seconds)
        # 200 ids fit the 8,000 bytes of one notice.
        self.leave: Batcher[Departure, None] = Batcher(
            _plain(self._leave), limit=200, patience_s=seconds
        )
        self.propose: Batcher[Proposing, None] = Batcher(
            _plain(propose), limit=32, patience_s=seconds
        )
        self.park: Batcher[Parking, None] = Batcher(_plain(park), limit=50, patience_s=seconds)
        self.remember: Batcher[Keeping, None] = Batcher(
            _plain(keep_safe), limit=32, patience_s=seconds
        )
        self.recall: Batcher[Wanted, Found | None] = Batcher(find, limit=32, patience_s=seconds)
        self.note: Batcher[Remark, None] = Batcher(_plain(note), patience_s=seconds)
        self._beat = NOTHING

    def take_beat(self) -> Beat:
        """What was written since this was asked last: runs that ended, and money spent."""
        taken, self._beat = self._beat, NOTHING
        return taken

    def give_back(self, beat: Beat) -> None:
        """Take it next time: it could not be told."""
        self._beat += beat

    async def _leave(self, departures: Sequence[Departure]) -> list[BaseException | None]:
        answers = await leave(departures)
        reasons = [
            each.stop_reason
            for each, answer in zip(departures, answers, strict=True)
            if answer is None and each.stop_reason is not None
        ]
        failed = sum(reason in FAILURES for reason in reasons)
        self._beat += Beat(len(reasons), failed, _NO_USD)
        return answers

    async def _settle(self, entries: Sequence[Entry]) -> list[BaseException | None]:
        return self._paid(entries, await settle(entries))

    async def _record(self, entries: Sequence[Entry]) -> list[BaseException | None]:
        return self._paid(entries, await record(entries))

    def _paid(
        self, entries: Sequence[Entry], answers: list[BaseException | None]
    ) -> list[BaseException | None]:
        spent = sum((each.usd for each in entries if each.usd), _NO_USD)
        if spent:
            self._beat += Beat(0, 0, spent)
        return answers


def _plain(verb: Any) -> Any:
    """None and exceptions are outcomes alike to a batcher, but not to a type checker."""
    return verb
