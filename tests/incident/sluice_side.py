"""Sluice's side: one worker and the API, and clients that ask again under the same key."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celery import Celery

from models.database import hot
from models.review import ReviewKind
from models.tenant import create_key
from producer.client import SUBMIT, Client, signed, submissions_queue
from tests.benchmarks.lab import Bench
from tests.desk import Desk
from tests.desk_pipelines import Order
from tests.incident.clients import IN_DOUBT, UNFINISHED

_TENANT = "acme"
_POLICY = Path(__file__).with_name("policy.yaml")
_LOOK_S = 0.1
_MOVING = "SELECT count(*) FROM run WHERE status IN ('queued', 'running')"
_OUTCOMES = """
    SELECT request_key.key, run.stop_reason, review.kind
      FROM request_key
      JOIN run ON run.id = request_key.run_id
      LEFT JOIN review ON review.run_id = run.id AND review.verdict IS NULL
"""


@dataclass
class SluiceSide:
    """Every other client comes through the broker; whoever asks again comes the other way."""

    pipeline: str
    client: Client
    app: Any
    """The plain Celery app of a service."""
    broker_url: str
    api_key: str
    asked: dict[str, int] = field(default_factory=dict)

    async def ask(self, order: Order, number: int) -> None:
        given = order.model_dump()
        place = self.asked.setdefault(order.ref, len(self.asked))
        if (place + number) % 2:
            await self.client.submit(self.pipeline, given, key=order.ref)
        else:
            asked = {"tenant": _TENANT, "idempotency_key": order.ref, "pipeline": self.pipeline}
            await asyncio.to_thread(self._send, asked | {"input": given})

    def _send(self, fields: dict[str, Any]) -> None:
        queue = submissions_queue(self.broker_url)
        self.app.send_task(SUBMIT, kwargs=signed(fields, self.api_key), queue=queue)

    async def answered(self, order: Order, *, within_s: float) -> bool:
        until = time.monotonic() + within_s
        while (told := await self.client.request(order.ref)) is None:
            if time.monotonic() > until:
                return False
            await asyncio.sleep(_LOOK_S)
        run = await self.client.get(told["run_id"], wait_s=max(0.0, until - time.monotonic()))
        return run["status"] in {"finished", "waiting"}

    async def settled(self) -> bool:
        keys = await hot().fetchval("SELECT count(*) FROM request_key")
        return bool(keys == len(self.asked) and await hot().fetchval(_MOVING) == 0)

    async def outcomes(self) -> dict[str, str]:
        said = dict.fromkeys(self.asked, UNFINISHED)
        for row in await hot().fetch(_OUTCOMES):
            doubt = IN_DOUBT if row["kind"] == ReviewKind.IN_DOUBT else UNFINISHED
            said[row["key"]] = row["stop_reason"] or doubt
        return said


@asynccontextmanager
async def sluice_side(bench: Bench, desk: Desk, *, pipeline: str) -> AsyncIterator[SluiceSide]:
    """A worker and an API over the bench's database."""
    api_key = await create_key(_TENANT)
    await bench.worker(
        WORKER__CATALOGUES='["tests.desk_pipelines"]', TEST_DESK_URL=desk.url, LOG_LEVEL="info",
        POLICY=str(_POLICY),
    )  # fmt: skip
    _, port = bench.api()
    broker_url = bench.lab.broker_url
    app = Celery("service", broker=broker_url, set_as_current=False)
    try:
        async with Client(f"http://127.0.0.1:{port}", api_key) as client:
            yield SluiceSide(pipeline, client, app, broker_url, api_key)
    finally:
        app.close()
