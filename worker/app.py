"""The worker process: Celery in the main thread hears bells, one event loop does the work."""

import asyncio
import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import celery.worker.state
import structlog
import uvloop
from celery import Celery, Task
from celery.app.trace import setup_worker_optimizations
from celery.exceptions import InvalidTaskError, WorkerShutdown
from celery.worker import WorkController
from celery.worker.strategy import default as default_strategy
from kombu.exceptions import ContentDisallowed, DecodeError

from config.bell import Bell
from config.broker import BELL, make_app
from config.settings import Settings
from worker.engine import Engine
from worker.pipeline import Catalogue

log = structlog.get_logger()

START_S = 60.0
_LAG_LOGGED_S = 1.0
_EXIT_S = 10.0
_LOOK_S = 0.2


def tolerant(task: Any, app: Any, consumer: Any, **options: Any) -> Callable[..., Any]:
    """Celery's strategy, but a message we cannot read is rejected instead of ending the worker."""
    handle = default_strategy(task, app, consumer, **options)

    def read(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **more: Any) -> Any:
        try:
            return handle(message, body, ack, reject, callbacks, **more)
        except (InvalidTaskError, ContentDisallowed, DecodeError, *consumer.connection_errors):
            raise  # Celery's own answers fit these
        except Exception as error:
            raise InvalidTaskError(f"malformed message: {error!r}") from error

    return read


class BellTask(Task):  # type: ignore[misc]  # Celery is untyped
    Strategy = "worker.app:tolerant"


class WorkerProcess:
    """Joins the two threads: the main one waits for bells and signals, the other has the loop."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        *,
        database_url: str,
        broker_url: str | None,
        alone: bool = False,
    ) -> None:
        """`alone`: see `Engine`; it hears no bells and reads no submissions."""
        broker_url = None if alone else broker_url
        self._alone = alone
        self._settings = settings
        self._catalogue = catalogue
        self._database_url = database_url
        self._broker_url = broker_url
        self._celery = make_app(broker_url, settings) if broker_url else None
        self._loop = uvloop.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._told = threading.Event()
        self._over = threading.Event()
        self._engine: Engine | None = None
        self._error: BaseException | None = None

    def run(self) -> int:
        """Work until SIGTERM or SIGINT, drain, and return the process's exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        loop_thread = threading.Thread(target=self._live, name="loop", daemon=True)
        loop_thread.start()
        self._ready.wait(START_S)
        if self._error is None and not self._ready.is_set():
            self._error = TimeoutError(f"the worker did not start within {START_S:g} s")
        if self._error is None:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
            if self._celery is None:
                self._wait()
            else:
                self._hear(self._celery)
        self._on_signal()
        loop_thread.join(2 * self._settings.worker.grace_s + _EXIT_S)
        if self._error is not None:
            log.error("worker.failed", error=f"{type(self._error).__name__}: {self._error}")
        return 1 if self._error is not None or loop_thread.is_alive() else 0

    def _live(self) -> None:
        try:
            self._loop.run_until_complete(self._work())
        except BaseException as error:  # noqa: BLE001  # the main thread reports it
            self._error = error
        finally:
            self._over.set()
            self._ready.set()
            celery.worker.state.should_stop = 0

    async def _work(self) -> None:
        bell = Bell(self._celery, self._settings)
        self._engine = Engine(
            self._settings,
            self._catalogue,
            database_url=self._database_url,
            bell=bell,
            alone=self._alone,
        )
        try:
            await self._engine.open()
            self._ready.set()
            await self._engine.run(self._stop, broker_url=self._broker_url)
        finally:
            await self._engine.close()

    def _hear(self, app: Celery) -> None:
        """Celery's consumer on the solo pool: a bell wakes the loop, nothing else.

        The bare controller, for Celery's command would print a banner and take the signals.
        """
        engine = self._engine
        assert engine is not None  # noqa: S101  # _ready is set after it

        @app.task(name=BELL, base=BellTask, ignore_result=True, max_retries=0)
        def bell() -> None:
            self._loop.call_soon_threadsafe(engine.intake.wake)

        setup_worker_optimizations(app)
        while not self._told.is_set() and not self._over.is_set():
            controller = WorkController(
                app=app,
                pool_cls="solo",
                queues=[self._settings.broker.bells],  # submissions have a reader of their own
                without_gossip=True,
                without_mingle=True,
                hostname=f"sluice-{engine.id.hex[:8]}",
            )
            try:
                with contextlib.suppress(WorkerShutdown):
                    controller.start()
            except Exception as error:  # noqa: BLE001  # a broker's error may not end a worker
                log.warning("bells.broken", error=repr(error)[:300])
            self._told.wait(_LOOK_S)

    def _on_signal(self, *_: Any) -> None:
        """Stop taking runs at once; whoever waits in the main thread sees it a moment later."""
        celery.worker.state.should_stop = 0
        self._told.set()
        with contextlib.suppress(RuntimeError):  # the loop may be over
            self._loop.call_soon_threadsafe(self._stop.set)

    def _wait(self) -> None:
        while not self._told.wait(_LOOK_S) and not self._over.is_set():
            pass

    def _watch(self) -> None:
        """End a process whose loop hangs: its leases run out, and another worker goes on."""
        limit_s = self._settings.worker.lease_s / 2
        while not self._over.is_set():
            heard = threading.Event()
            asked = time.monotonic()
            self._loop.call_soon_threadsafe(heard.set)
            if heard.wait(_LAG_LOGGED_S):
                time.sleep(0.5)
                continue
            faulthandler.dump_traceback(sys.stderr)
            log.warning("loop.lagged", seconds=round(time.monotonic() - asked, 1))
            if not heard.wait(limit_s) and not self._over.is_set():
                log.error("loop.hangs", seconds=round(time.monotonic() - asked, 1))
                os._exit(70)
