"""Orders for tickets under load, and what each of them may have left at the desk."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from models.admission import Admission
from models.batcher import DatabaseAway
from models.database import TRANSIENT, hot
from models.request import Request
from tests.desk_pipelines import Order
from tests.desk_record import DeskRecord

PIPELINES = ("file-ticket", "file-ticket-once", "file-ticket-blind")
BLIND = "file-ticket-blind"
_HISTORY = """
    SELECT k.key, r.id, r.pipeline, r.version, r.input, r.status, r.waiting_for, r.stop_reason,
           r.detail, r.attempt, r.crashes
      FROM request_key k JOIN run r ON r.id = k.run_id ORDER BY r.seq
"""


@dataclass
class Load:
    """Orders that keep coming; each is asked for under one key until it is accepted."""

    send: Callable[[Request], Awaitable[None]]
    pause_s: float = 0.06
    steps: int = 3
    sent: list[Request] = field(default_factory=list)
    _enough: asyncio.Event = field(default_factory=asyncio.Event)
    _sending: "asyncio.Task[None] | None" = None

    def begin(self, name: str) -> None:
        """Keys and references start with the name, so that one can tell whose they are."""
        self._enough.clear()
        self._sending = asyncio.create_task(self._keep_sending(name))

    async def end(self) -> None:
        """Return when the last order that was sent is accepted."""
        self._enough.set()
        if self._sending is not None:
            await self._sending

    def drop(self) -> None:
        """Stop at once, whatever is under way."""
        if self._sending is not None:
            self._sending.cancel()

    async def _keep_sending(self, name: str) -> None:
        number = 0
        while not self._enough.is_set():
            number += 1
            request = order(f"{name}-{number}", PIPELINES[number % 3], steps=self.steps)
            self.sent.append(request)
            await self.send(request)
            await asyncio.sleep(self.pause_s)


def order(key: str, pipeline: str, *, steps: int = 1) -> Request:
    given = Order(ref=key, title=f"Where is {key}?", steps=steps)
    return Request("acme", key, pipeline, given.model_dump())


def straight_in() -> Callable[[Request], Awaitable[None]]:
    """Admit in this process, and after every error ask again under the same key."""
    admission = Admission(patience_s=1)

    async def send(request: Request) -> None:
        while True:
            try:
                await admission(request)
            except (DatabaseAway, *TRANSIENT):
                await asyncio.sleep(0.05)
            else:
                return

    return send


async def history() -> list[Any]:
    """Every run with its key; nothing while the database is away."""
    try:
        return list(await hot().fetch(_HISTORY))
    except TRANSIENT:
        return []


async def all_over(load: Load) -> bool:
    """Whether each order has a run, and each run has ended or stands before a person."""
    rows = await history()
    return len(rows) == len(load.sent) and all(map(_is_over, rows))


def _is_over(row: Any) -> bool:
    in_doubt = row["status"] == "waiting" and row["waiting_for"] == "review"
    return bool(row["status"] == "finished" or (in_doubt and row["pipeline"] == BLIND))


def wrongs(rows: Iterable[Any], record: DeskRecord) -> list[str]:
    """What contradicts a promise, in words: one ticket for each reference, and no write twice.

    A run that waits for a person has filed what it could: up to one ticket for each.
    """
    effects = record.effects()
    arrived = Counter(seen.external_ref for seen in record.requests() if seen.did != "refused")
    said: list[str] = []
    known: set[str] = set()
    for row in rows:
        done = row["status"] == "finished"
        if done and row["stop_reason"] != "success":
            said.append(f"{row['key']} stopped as {row['stop_reason']}: {row['detail']}")
        for ref in Order.model_validate(orjson.loads(row["input"])).refs():
            known.add(ref)
            if effects[ref] > 1 or (done and effects[ref] != 1):
                said.append(f"{ref} has {effects[ref]} tickets")
            if row["pipeline"] != "file-ticket" and arrived[ref] > 1:
                said.append(f"{ref} was sent {arrived[ref]} times, which its desk does not allow")
    return said + [f"nobody asked for {ref}" for ref in effects.keys() - known]
