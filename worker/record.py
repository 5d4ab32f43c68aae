"""A record: what earlier attempts of a run wrote into its ledger, to be replayed."""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

import orjson

from models.database import hot
from models.ledger import EntryState, StepKind
from models.run import StopReason
from worker.mismatch import Asked, Mismatch
from worker.outcome import ToolFailed


class Record(NamedTuple):
    """A ledger entry as an earlier attempt left it."""

    step: str
    number: int
    state: EntryState
    args_hash: bytes
    tries: int
    token: UUID
    reserved_usd: Decimal
    result: bytes | None
    error: bytes | None
    tool: str | None
    effect: str | None
    args: bytes | None
    age_s: float
    """Since the first intent, by the database's clock."""
    clear_s: float
    """Until the last try can no longer be under way; negative when that is past."""
    labels: bytes | None = None
    kind: str = StepKind.CALL
    copied_from: UUID | None = None
    """Of a fork: the run that did it."""

    @property
    def left_something(self) -> bool:
        """A write of this run's own, that has happened or may have."""
        if self.effect in {None, "read"} or self.copied_from is not None:
            return False
        return self.state in {EntryState.RESERVED, EntryState.SETTLED, EntryState.IN_DOUBT}

    @property
    def said_bits(self) -> float:
        """What text from outside chose in it, if it was a write that may have left."""
        if not self.labels or self.effect == "read" or self.state is EntryState.RELEASED:
            return 0.0
        return float(sum(each.get("bits", 0.0) for each in orjson.loads(self.labels).values()))

    @property
    def over(self) -> bool:
        """It has an outcome: a result, or a failure."""
        return self.state in {EntryState.SETTLED, EntryState.UNDONE, EntryState.REJECTED}

    def replay(self, digest: bytes, asked: Asked | None = None) -> bytes | None:
        """The recorded result, or None while there is none; its recorded failure is raised again.

        A resumed run must ask what it asked before: another question means another pipeline.
        `asked` is what it asks now, for whoever has to find out what has changed.
        """
        if self.args_hash != digest:
            raise Mismatch(self.step, Asked(self.kind, self.tool, self.args), asked)
        if self.state is EntryState.REJECTED:
            told = orjson.loads(self.error or b"{}")
            reason = StopReason(told.get("reason", StopReason.TOOL_FAILED))
            raise ToolFailed(told.get("message", ""), reason)
        done = self.state in {EntryState.SETTLED, EntryState.UNDONE}
        return (self.result or b"null") if done else None


_LOAD = """
    SELECT run_id, step, number, state, args_hash, tries, token, reserved_usd, result, error,
           tool, effect, args,
           extract(epoch FROM now() - created_at)::float AS age_s,
           coalesce(extract(epoch FROM quiet_at - now()), 0)::float AS clear_s,
           labels, kind, copied_from
      FROM ledger_entry WHERE run_id = ANY($1::uuid[]) ORDER BY run_id, number
"""


async def load(run_ids: Sequence[UUID]) -> list[list[Record]]:
    """What earlier attempts wrote, run by run, in the order they came to it."""
    records: defaultdict[UUID, list[Record]] = defaultdict(list)
    for row in await hot().fetch(_LOAD, list(run_ids)):
        records[row[0]].append(Record(row[1], row[2], EntryState(row[3]), *row[4:]))
    return [records[run_id] for run_id in run_ids]
