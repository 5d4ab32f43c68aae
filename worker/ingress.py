"""The ingress: reads submissions from the broker, and acks each after its row is committed."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import asyncpg
import sentry_sdk
import structlog
from kombu import Consumer

from config.broker import is_redis, submissions, transport_options
from config.envelope import Connection
from config.settings import Settings
from models.admission import Admission
from models.batcher import DatabaseAway
from models.database import TRANSIENT
from models.identity import uuid7
from models.refusal import Refusal, plain, refuse, shown
from models.request import Refused
from worker.submission import Delivery, Prover, read, request_of

log = structlog.get_logger()

_POLL_S = 0.5
_GATHER_S = 0.002
_RECONNECT_S = 1.0
_PATIENCE_S = 0.5


class OurFault(Refused):
    """A submission on which our own code failed: nothing of it is stored, and nobody else waits."""

    code = "internal_error"


class Ingress:
    """A kombu consumer in a thread of its own; the rows are written on the worker's loop.

    One batch at a time: read what is there, admit it in one flush, ack it. Until the commit a
    submission is exactly as safe as the broker, so while Postgres is away nothing is acked.
    """

    def __init__(
        self, url: str, settings: Settings, admission: Admission, admitted: Callable[[], None]
    ) -> None:
        self._url = url
        self._settings = settings
        self._admission = admission
        self._admitted = admitted
        self._prover = Prover(trusted=settings.embedded)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._live, name="ingress", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin to read, on behalf of the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """Read nothing more; what is not acked goes back to the broker. It blocks for a moment."""
        self._stopped.set()
        self._thread.join(5)

    def _live(self) -> None:
        while not self._stopped.is_set():
            try:
                self._consume()
            except Exception as error:  # noqa: BLE001  # a broker raises whatever its client does
                if not self._stopped.is_set():
                    log.warning("ingress.broker_away", error=repr(error)[:300])
                    self._stopped.wait(_RECONNECT_S)

    def _consume(self) -> None:
        options = transport_options(self._url, self._settings)
        with Connection(
            self._url, heartbeat=0 if is_redis(self._url) else 30, transport_options=options
        ) as connection:
            batch: list[Any] = []
            consumer = Consumer(
                connection.channel(),
                queues=[submissions(self._url, self._settings)],
                on_message=batch.append,
                on_decode_error=lambda message, _: batch.append(message),
                accept=["json"],
                prefetch_count=self._settings.broker.prefetch,
            )
            with consumer:
                while not self._stopped.is_set():
                    self._gather(connection, batch)
                    if batch:
                        self._admit(connection, batch)
                        batch.clear()

    def _gather(self, connection: Any, batch: list[Any]) -> None:
        with contextlib.suppress(TimeoutError):
            connection.drain_events(timeout=_POLL_S)
            while len(batch) < self._settings.broker.prefetch:
                connection.drain_events(timeout=_GATHER_S)
        if connection.heartbeat:
            connection.heartbeat_check()

    def _admit(self, connection: Any, batch: Sequence[Any]) -> None:
        assert self._loop is not None  # noqa: S101  # start() sets it
        limit = self._settings.api.max_body_bytes
        deliveries = [read(message, limit=limit) for message in batch]
        future: Future[None] = asyncio.run_coroutine_threadsafe(self._write(deliveries), self._loop)
        while True:
            try:
                future.result(timeout=_POLL_S)
                break
            except TimeoutError:
                if self._stopped.is_set():
                    future.cancel()
                    raise
                if connection.heartbeat:
                    connection.heartbeat_check()
        for message in batch:
            message.ack()

    async def _write(self, deliveries: Sequence[Delivery]) -> None:
        """Admit or refuse every delivery; return when each has its row."""
        refusals = await asyncio.gather(*(self._one(delivery) for delivery in deliveries))
        refused = [each for each in refusals if each is not None]
        if refused:
            await _until_written(refused)
        if len(refused) < len(deliveries):
            self._admitted()

    async def _one(self, delivery: Delivery) -> Refusal | None:
        while True:
            try:
                if delivery.refused is not None:
                    raise delivery.refused
                await self._prover.prove(delivery.fields)
                await self._admission(request_of(delivery.fields))
            except Refused as error:
                return _refusal(delivery, error)
            except asyncpg.DataError as error:
                return _refusal(delivery, _our_fault(error))
            except (DatabaseAway, asyncpg.PostgresError, *TRANSIENT) as error:
                # Also a disk that is full or a primary that turned replica: it is not the
                # submission's fault, so it waits unacked until somebody has mended that.
                log.warning("ingress.database_away", error=repr(error)[:300])
                await asyncio.sleep(_PATIENCE_S)
            except Exception as error:  # noqa: BLE001  # one submission must not stop all others
                return _refusal(delivery, _our_fault(error))
            else:
                return None


def _our_fault(error: Exception) -> OurFault:
    log.error("submission.failed", exc_info=error)
    with contextlib.suppress(Exception):  # telemetry never decides over a submission
        sentry_sdk.capture_exception(error)
    return OurFault("this is a bug of ours, and it is recorded; the same key may be used again")


def _refusal(delivery: Delivery, error: Refused) -> Refusal:
    detail = plain(error.detail)[:2000]
    log.info("submission.refused", code=error.code, detail=detail[:300])
    return Refusal(
        id=uuid7(),
        tenant=shown(delivery.fields.get("tenant")),
        key=shown(delivery.fields.get("idempotency_key")),
        code=error.code,
        detail=detail,
    )


async def _until_written(refusals: list[Refusal]) -> None:
    while True:
        try:
            await refuse(refusals)
        except TRANSIENT as error:
            log.warning("ingress.database_away", error=repr(error)[:300])
            await asyncio.sleep(_PATIENCE_S)
        else:
            return
