"""The engine: everything that lives on a worker process's one event loop."""

import asyncio
import contextlib
import gc
import os
import socket
import time
from datetime import timedelta
from uuid import uuid4

import orjson
import structlog
from sqlalchemy.exc import SQLAlchemyError

from config.bell import Bell
from config.broker import is_redis
from config.rulebook import rulebook
from config.settings import GAP_BEATS, Settings
from models import contract, schema, timeline
from models.admission import Admission
from models.database import close_database, hot, open_database
from models.fleet import Me, seen
from models.gate import GateMode, flip
from models.scope import POLICY
from tools import http, llm, mcp
from tools.health import Health
from worker.claim import Claims
from worker.gatekeeper import Gatekeeper
from worker.gateway import Gateway
from worker.heartbeat import Heartbeat
from worker.ingress import Ingress
from worker.intake import Intake
from worker.journal import Journal
from worker.notifier import Notifier
from worker.pipeline import Catalogue
from worker.pipelines.execute_proposal import with_execution
from worker.purger import Purger
from worker.quarantine import Quarantine
from worker.runner import Runner
from worker.sweeper import Sweeper
from worker.tripwire import Tripwire

log = structlog.get_logger()

_IDLE_S = 2.0
_ALONE_CONNECTIONS = 3
"""One run at a time needs no more, and a worker may start several such processes."""

_LEAVE = "DELETE FROM worker WHERE id = $1"


class Engine:
    """Opens, runs and drains; one per process, on the loop it is started on."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        *,
        database_url: str,
        bell: Bell,
        alone: bool = False,
    ) -> None:
        """`alone`: run suspects, one at a time, and leave when there are none."""
        self.id = uuid4()
        self._alone = alone
        self._settings = settings
        self._catalogue = catalogue = with_execution(catalogue)
        self._database_url = database_url
        self._bell = bell
        own = settings.worker
        journal = Journal(patience=timedelta(seconds=own.lease_s))
        self._rulebook = rulebook()
        safe_mode = self._rulebook.file.policy.safe_mode
        self._gatekeeper = Gatekeeper(self._rulebook, patience_s=own.lease_s)
        self._health = Health(self.id)
        gateway = Gateway(
            journal, self._gatekeeper, self._rulebook, self._health, send_before_s=own.send_before_s
        )
        runner = Runner(catalogue, journal, gateway, bug_limit=own.bug_limit)
        self.intake = Intake(
            Claims(self.id, list(catalogue), own.lease_s),
            runner,
            self._gatekeeper,
            room=own.room,
            look_s=own.look_s if bell.hung else own.look_without_broker_s,
            alone=alone,
        )
        self._quarantine = Quarantine(list(catalogue))
        self._notifier = Notifier(settings.notify)
        self._tripwire = Tripwire(self.id, safe_mode.triggers, journal, self._gatekeeper)
        self._purger = Purger(settings.retention)
        runs = orjson.dumps([list(key) for key in catalogue])
        self._me = Me(self.id, socket.gethostname(), os.getpid(), runs, safe_mode.enabled)
        self._heartbeat = Heartbeat(
            self.intake, self._me, every_s=own.heartbeat_s, lease_s=own.lease_s
        )
        self._sweeper = Sweeper(
            self.id,
            crash_limit=own.crash_limit,
            heartbeat_s=own.heartbeat_s,
            wake=self.intake.wake,
        )

    async def open(self) -> None:
        """Connect, bring our own database up to date, and tell the fleet what we run.

        Raises:
            DatabaseUnfit, OSError, asyncpg.PostgresError: This database cannot be worked with.
        """
        await schema.ensure(self._database_url, embedded=self._settings.embedded)
        await open_database(
            self._database_url,
            connections=_ALONE_CONNECTIONS if self._alone else self._settings.worker.connections,
            watch=timeline.watch,
        )
        await contract.publish(each.contract() for each in self._catalogue.values())
        await seen(hot(), self._me, gap_s=GAP_BEATS * self._settings.worker.heartbeat_s)
        if self._me.safe_mode:
            told = f"safe_mode.enabled in the policy of {self._me.host}, process {self._me.pid}"
            await flip(POLICY, GateMode.READ_ONLY, who="policy", reason=told)
        await self._gatekeeper.look()
        await self._health.look()
        await llm.warm()
        log.info("worker.started", worker=str(self.id), pipelines=sorted(map(str, self._catalogue)))

    async def run(self, stop: asyncio.Event, *, broker_url: str | None) -> None:
        """Work until `stop`, then drain; a part that dies ends all of it."""
        if broker_url and is_redis(broker_url):
            self._health.connect(broker_url)
        parts = [
            asyncio.create_task(part, name=name)
            for name, part in (
                ("gatekeeper", self._gatekeeper.run()),
                ("intake", self.intake.run()),
                ("heartbeat", self._heartbeat.run()),
                ("sweeper", self._sweeper.run()),
                ("notifier", self._notifier.run()),
                ("purger", self._purger.run()),
                ("tripwire", self._tripwire.run()),
                ("health", self._health.run()),
                ("quarantine", self._leave_when_idle() if self._alone else self._quarantine.run()),
            )
        ]
        _collect_seldom()
        # Submissions are admitted for as long as Postgres is away: they are safe in the broker.
        admission = Admission(patience_s=3600)
        ingress = (
            Ingress(broker_url, self._settings, admission, self.intake.wake) if broker_url else None
        )
        if ingress:
            ingress.start()
        stopping = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait([stopping, *parts], return_when=asyncio.FIRST_COMPLETED)
        finally:
            if ingress:
                await asyncio.to_thread(ingress.stop)
            self.intake.close()
            snoozed = await self.intake.drain(self._settings.worker.grace_s)
            log.info("worker.drained", snoozed=snoozed)
            for part in (*parts, stopping):
                part.cancel()
            await asyncio.gather(*parts, stopping, return_exceptions=True)
        for part in done - {stopping}:
            part.result()  # raises what killed it

    async def _leave_when_idle(self) -> None:
        """Come to an end when no suspect has been there for a moment."""
        idle_since = time.monotonic()
        while time.monotonic() - idle_since < _IDLE_S:
            await asyncio.sleep(_IDLE_S / 10)
            if self.intake.held:
                idle_since = time.monotonic()

    async def close(self) -> None:
        """Leave the fleet and give everything back."""
        with contextlib.suppress(OSError, SQLAlchemyError, RuntimeError, IndexError):
            await hot().execute(_LEAVE, self.id)
        await self._health.close()
        await http.close()
        await mcp.close()
        await llm.close()
        await self._bell.close()
        await close_database()


def _collect_seldom() -> None:
    """Keep the cyclic collector off the modules, and off every thousandth object.

    With its defaults it took 15 to 30 % of the loop's time, for runs leave few cycles behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
