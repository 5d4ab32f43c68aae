"""The stage: one probe through the real claims, runner, gateway, journal and health."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import orjson

from config.broker import is_redis
from config.rulebook import Rulebook
from config.settings import WorkerSettings
from models import breaker, call_audit, contract, shadow
from models.admission import Admission
from models.breaker import BreakerState
from models.gate import GateMode, flip
from models.guard import Guard
from models.request import Request
from models.review import Verdict
from models.shadow import SCOPE, SHADOW
from models.verdict import answer
from tools.health import Health
from worker.claim import Claims
from worker.gatekeeper import STALE_S, Gatekeeper
from worker.gateway import Gateway
from worker.held import Held
from worker.journal import Journal
from worker.runner import Runner
from worker.trials.kit import ILL, Kit, Script
from worker.trials.probe import Probe, Scene, Seen

WHO = "guards verify"
LEASE_S = 120.0
"""Nobody sends heartbeats for these runs: it is all over long before."""
ATTEMPT_S = 15.0
_REASON = "a trial of the guards, over in a moment"


class Stage:
    """Of one verification; everything on it is made as in a worker, but for the kit."""

    def __init__(self, settings: WorkerSettings, folder: Path, *, broker_url: str | None) -> None:
        self._settings = settings
        self._folder = folder
        self._kit = Kit()
        own = self._kit.pipeline
        self._catalogue = {(own.name, own.version): own}
        self._id, self._broker_url = uuid4(), broker_url
        self._claims = Claims(self._id, list(self._catalogue), LEASE_S)
        self._admission = Admission(patience_s=2)
        self._journal = Journal(patience=timedelta(seconds=2))
        self._health, self._alone = self._connected(), Health(self._id)
        self._held: dict[UUID, Held] = {}

    async def open(self) -> None:
        """Let requests for the kit's pipeline in."""
        await contract.publish([self._kit.pipeline.contract()])

    async def close(self) -> None:
        await asyncio.gather(self._health.close(), self._alone.close())

    async def admit(self, probes: Sequence[Probe]) -> list[UUID]:
        """Ask for a run for each, and claim all at once: a claim reads past all that is queued."""
        runs = await asyncio.gather(*(self._ask(each) for each in probes))
        while not set(runs) <= self._held.keys():
            if not await self._claim(len(runs)):
                raise LookupError("the shadow's runs were admitted, and cannot be claimed")
        return runs

    async def try_out(self, run: UUID, probe: Probe) -> Seen:
        """Carry one out, and say what was to be seen of it."""
        rules = self._rules(probe)
        gatekeeper = Gatekeeper(rules, patience_s=2)
        await gatekeeper.look()
        async with self._scene(probe, gatekeeper) as health:
            gateway = Gateway(
                self._journal, gatekeeper, rules, health, send_before_s=self._settings.send_before_s
            )
            await self._attempt(run, gateway)
            if probe.scene is Scene.APPROVED and (review := await shadow.asked(run)) is not None:
                await answer(review, Verdict.APPROVED, who=WHO)
            if probe.scene in {Scene.APPROVED, Scene.RESUMED}:
                await self._claim(8)
                await self._attempt(run, gateway)
            return await self._seen(run, rules.revision)

    async def _claim(self, room: int) -> int:
        claimed = await self._claims.take(room, held={})
        self._held |= {each.id: each for each in claimed}
        return len(claimed)

    async def _ask(self, probe: Probe) -> UUID:
        script = Script(lines=list(probe.lines)).model_dump(mode="json")
        request = Request(SHADOW, f"guards:{uuid4()}", self._kit.pipeline.name, script)
        return (await self._admission(request)).run_id

    def _rules(self, probe: Probe) -> Rulebook:
        path = self._folder / f"{uuid4().hex}.yaml"
        path.write_bytes(orjson.dumps(probe.policy))  # YAML is a superset of JSON
        return Rulebook(path)

    @asynccontextmanager
    async def _scene(self, probe: Probe, gatekeeper: Gatekeeper) -> AsyncIterator[Health]:
        if probe.scene in {Scene.SHUT, Scene.SHUT_UNSEEN}:
            try:
                begun = time.monotonic()
                await flip(SCOPE, GateMode.READ_ONLY, who=WHO, reason=_REASON)
                if probe.scene is Scene.SHUT:
                    await gatekeeper.look()
                elif time.monotonic() - begun > STALE_S / 2:  # it will look by itself: nothing told
                    raise TimeoutError("the flip took too long to tell who refuses the write")
                yield self._health
            finally:
                await flip(SCOPE, GateMode.OPEN, who=WHO, reason=_REASON)
        elif probe.scene is Scene.ILL:
            tool = self._kit.tool(ILL).name
            await breaker.force(tool, BreakerState.OPEN, who=WHO, reason=_REASON)
            # One look of a health that knows no tool yet: a second one would judge the fleet's ill
            # tools by the trial's policy.
            health = self._connected()
            try:
                await health.look()
                yield health  # the breaker's row goes with all of the shadow's
            finally:
                await health.close()
        else:
            yield self._alone if probe.scene is Scene.ALONE else self._health

    def _connected(self) -> Health:
        health = Health(self._id)
        if self._broker_url and is_redis(self._broker_url):
            health.connect(self._broker_url)
        return health

    async def _attempt(self, run: UUID, gateway: Gateway) -> None:
        held = self._held.pop(run, None)
        if held is None:  # it did not leave its first worker as it should have: that is seen
            return
        runner = Runner(self._catalogue, self._journal, gateway, bug_limit=1)
        self._kit.held = held
        async with asyncio.timeout(ATTEMPT_S):
            await asyncio.create_task(runner.run(held))  # in a context of its own, for the log

    async def _seen(self, run: UUID, revision: str) -> Seen:
        row = await shadow.stands(run)
        if row is None:
            raise LookupError("its run was removed while it was tried")
        lines = await call_audit.of_run(run)
        said = tuple(
            (Guard(each["guard"]), each["reason"] if each["policy"] == revision else "by no policy")
            for each in lines
        )
        stands = row["stop_reason"] or row["waiting_for"] or row["status"]
        return Seen(stands, await shadow.steps(run), self._kit.reached[run], said)
