"""The journal: this process's batched verbs, one flusher for each."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from models.batcher import Batcher
from worker.checkpoint import Entry, record, settle
from worker.departure import Departure, Partial, keep, leave
from worker.intent import intend
from worker.parking import Parking, park
from worker.record import Record, load
from worker.rollback import Undone, undone
from worker.testimony import testify


class Journal:
    """Where steps and departures are written; callers of the same moment share a statement."""

    def __init__(self, *, patience: timedelta) -> None:
        seconds = patience.total_seconds()
        self.load: Batcher[UUID, list[Record]] = Batcher(load, patience_s=seconds)
        self.record: Batcher[Entry, None] = Batcher(_plain(record), patience_s=seconds)
        self.intend: Batcher[Entry, None] = Batcher(_plain(intend), patience_s=seconds)
        self.settle: Batcher[Entry, None] = Batcher(_plain(settle), patience_s=seconds)
        self.testify: Batcher[Entry, None] = Batcher(_plain(testify), patience_s=seconds)
        self.undo: Batcher[Undone, None] = Batcher(_plain(undone), patience_s=seconds)
        self.keep: Batcher[Partial, None] = Batcher(_plain(keep), patience_s=seconds)
        # 200 ids fit the 8,000 bytes of one notice.
        self.leave: Batcher[Departure, None] = Batcher(_plain(leave), limit=200, patience_s=seconds)
        self.park: Batcher[Parking, None] = Batcher(_plain(park), limit=50, patience_s=seconds)


def _plain(verb: Any) -> Any:
    """None and exceptions are outcomes alike to a batcher, but not to a type checker."""
    return verb
