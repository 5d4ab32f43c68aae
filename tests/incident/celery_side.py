"""Raw Celery's side: a real worker on the same Redis, and clients that send another task."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson
from celery import Celery

from tests.benchmarks.lab import Bench
from tests.desk import Desk
from tests.desk_pipelines import Order
from tests.incident.clients import SUCCESS, UNFINISHED

_APP = "tests.incident.raw_celery"
_THREADS = 32
_LOOK_S = 0.25
_START_S = 30.0
_RESULT = "celery-task-meta-"


@dataclass
class CelerySide:
    """A client that hears nothing sends another task; it hears whichever of them ends first."""

    app: Any
    redis: Any
    desk: Desk
    queue: str
    key_of_ref: bool
    """All tasks for one reference pass the same key; else each task passes its own id."""
    tasks: dict[str, list[str]] = field(default_factory=dict)
    """The ids of each reference's tasks."""
    heard: dict[str, str] = field(default_factory=dict)
    """How each task ended, once somebody has looked."""

    async def ask(self, order: Order, number: int) -> None:
        key = order.ref if self.key_of_ref else None
        args = (self.desk.url, order.ref, order.title, key)
        send = partial(self.app.send_task, "incident.file_ticket", args, queue=self.queue)
        self.tasks.setdefault(order.ref, []).append((await asyncio.to_thread(send)).id)

    async def answered(self, order: Order, *, within_s: float) -> bool:
        until = time.monotonic() + within_s
        while self.heard.keys().isdisjoint(self.tasks[order.ref]):
            if time.monotonic() > until:
                return False
            await asyncio.sleep(_LOOK_S)
        return True

    async def listen(self) -> None:
        """Look for all clients at once: each for itself would keep the loop from anything else."""
        while True:
            await asyncio.to_thread(self._look)
            await asyncio.sleep(_LOOK_S)

    def _look(self) -> None:
        ids = [each for ids in list(self.tasks.values()) for each in ids if each not in self.heard]
        if not ids:
            return
        for each, raw in zip(ids, self.redis.mget([f"{_RESULT}{id_}" for id_ in ids]), strict=True):
            told = orjson.loads(raw or "{}")
            if told.get("status") == "SUCCESS":
                self.heard[each] = SUCCESS
            elif told.get("status") == "FAILURE":
                self.heard[each] = told["result"]["exc_type"]

    async def settled(self) -> bool:
        """Whether the broker holds no message of ours. A task's state does not tell: the note that
        it is tried again may be written after the outcome of that other try, and then stays."""
        held = (orjson.loads(each) for each in self.redis.hvals("unacked"))
        return not self.redis.llen(self.queue) and all(route != self.queue for _, _, route in held)

    async def outcomes(self) -> dict[str, str]:
        self._look()
        return {ref: self._best(ids) for ref, ids in self.tasks.items()}

    def _best(self, ids: list[str]) -> str:
        """One task that succeeded is enough; else the error of the last that has ended."""
        said = [self.heard[each] for each in ids if each in self.heard]
        return SUCCESS if SUCCESS in said else (said or [UNFINISHED])[-1]


@asynccontextmanager
async def celery_side(bench: Bench, desk: Desk, *, key_of_ref: bool) -> AsyncIterator[CelerySide]:
    """A worker with a queue of its own that is ready for tasks."""
    url, queue = bench.lab.broker_url, f"incident-{desk.folder.name}"
    app = Celery("incident", broker=url, backend=url, set_as_current=False)
    try:
        with _worker(bench, queue):
            await _ready(app, queue)
            side = CelerySide(app, bench.lab.redis(), desk, queue, key_of_ref)
            listening = asyncio.create_task(side.listen())
            yield side
            listening.cancel()
    finally:
        app.close()


async def _ready(app: Any, queue: str) -> None:
    sent, until = app.send_task("incident.ready", queue=queue), time.monotonic() + _START_S
    while not sent.ready():
        if time.monotonic() > until:
            raise RuntimeError(f"the Celery worker was not ready within {_START_S:g} s")
        await asyncio.sleep(0.05)


@contextmanager
def _worker(bench: Bench, queue: str) -> Iterator[None]:
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=ERROR")
    pool = ("--pool=threads", f"--concurrency={_THREADS}", f"--queues={queue}")
    with (bench.fleet.folder / f"{queue}.out").open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", _APP, "worker", *pool, *quiet],
            env=os.environ | {"INCIDENT_BROKER_URL": bench.lab.broker_url, "C_FORCE_ROOT": "1"},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
