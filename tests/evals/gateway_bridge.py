"""A bridge from one synchronous caller to the real gateway, with a real PostgreSQL behind it.

A log is replayed call by call: `decide` says what the gateway does with a call, and what the log
says that it gave comes afterwards. So a call that has passed every gate and reached its tool waits
there for its answer; it is then settled like any other. One thread has the loop.
"""

import asyncio
import atexit
import os
import shutil
import tempfile
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import structlog
from pydantic import BaseModel

from config import embedded
from config.rulebook import Rulebook
from models import contract, migrate
from models.admission import Admission
from models.budget import Budget
from models.database import close_database, hot, open_database
from models.request import Request
from tools.tool import Call, Tool
from worker.claim import Claims
from worker.gatekeeper import Gatekeeper
from worker.gateway import Gateway
from worker.held import Held
from worker.journal import Journal
from worker.labels.provenance import INPUT, Origin
from worker.outcome import Ask, Stop
from worker.pipeline import Pipeline
from worker.repetition import Repetition

T = TypeVar("T")
_OPEN = "INSERT INTO gate (scope, mode) VALUES ('fleet', 'open') ON CONFLICT DO NOTHING"
_LEASE_S = 7200.0


@dataclass
class Waiting:
    """A call that has reached its tool."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    answer: asyncio.Future[str] = field(default_factory=asyncio.Future)


class Bridge:
    """One per process; ends with it. SLUICE_DATABASE_URL, or a server of its own."""

    def __init__(self, policy: str) -> None:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
        self._folder = Path(tempfile.mkdtemp(prefix="sluice-dojo-"))
        self._folder.chmod(0o755)
        atexit.register(self._end)
        (self._folder / "policy.yaml").write_text(policy)
        self.rulebook = Rulebook(self._folder / "policy.yaml")
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._waiting: dict[UUID, Waiting] = {}
        self._published: set[str] = set()
        url = os.environ.get("SLUICE_DATABASE_URL")
        url = url or embedded.start(self._folder / "data").database_url
        self.wait(self._begin(url))

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the loop, and return what it comes to."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    async def _begin(self, url: str) -> None:
        await migrate.upgrade(url)
        await open_database(url)
        await hot().execute(_OPEN)
        journal = Journal(patience=timedelta(seconds=5))
        gatekeeper = Gatekeeper(self.rulebook, patience_s=5)
        self._admission = Admission(patience_s=5)
        self._gateway = Gateway(journal, gatekeeper, self.rulebook, send_before_s=2)

    async def hold(self, pipeline: Pipeline[Any, Any], given: BaseModel) -> Held:
        """A run of its own, claimed, as the runner has it before its first step."""
        if pipeline.name not in self._published:
            await contract.publish([pipeline.contract()])
            self._published.add(pipeline.name)
        request = Request("acme", uuid4().hex, pipeline.name, given.model_dump(mode="json"))
        await self._admission(request)
        claims = Claims(uuid4(), [(pipeline.name, pipeline.version)], _LEASE_S)
        (held,) = await claims.take(1, held={})
        held.budget = Budget(steps=10_000, tool_calls=10_000, seconds=36_000)
        policy = self.rulebook.of(held.tenant, held.pipeline)
        held.repetition = Repetition(policy.agent.loop_detection)
        parsed = pipeline.takes.model_validate_json(held.input)
        held.provenance.origins[INPUT] = Origin(parsed, pipeline.takes, pipeline.trusts)
        return held

    async def outside(self, _: str, call: Call) -> str:
        """Every tool of this bridge: reached, it waits for what the log says."""
        waiting = self._waiting[call.run_id]
        waiting.reached.set()
        return await waiting.answer

    async def propose(
        self,
        held: Held,
        tool: Tool[Any, Any],
        given: Mapping[str, Any],
        *,
        step: str,
        allowed: Mapping[str, Tool[Any, Any]],
    ) -> "asyncio.Task[Any] | Stop | Ask":
        """A model's call through every gate, up to its tool: the call under way, or why not."""
        waiting = self._waiting[held.id] = Waiting()
        number = len(held.names) + 1
        held.names.add(step)
        work = asyncio.create_task(
            self._gateway.call(
                held, tool, given, step=step, number=number, allowed=allowed, proposed=True
            )
        )
        reached = asyncio.create_task(waiting.reached.wait())
        await asyncio.wait({work, reached}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.reached.is_set():
            return work
        reached.cancel()
        try:
            await work
        except (Stop, Ask) as said:
            return said
        raise AssertionError("it was neither made nor refused")

    async def settle(self, held: Held, work: "asyncio.Task[Any]", answer: str) -> Stop | None:
        """What the tool gave, and what the gateway says to that."""
        self._waiting[held.id].answer.set_result(answer)
        try:
            await work
        except Stop as stop:
            return stop
        return None

    def _end(self) -> None:
        try:
            self.wait(close_database())
        finally:
            embedded.stop(self._folder / "data")
            shutil.rmtree(self._folder, ignore_errors=True)
