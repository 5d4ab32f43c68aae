"""Runs one claimed run, from its record to its departure."""

import asyncio
import contextlib
import time
import traceback
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
import sentry_sdk
import structlog
from pydantic import BaseModel, ValidationError

from config.redaction import Redactor
from models.batcher import DatabaseAway
from models.run import RunStatus, StopReason, WaitingFor
from models.transition import refused, report
from tools.misfit import faults
from worker.departure import Departure
from worker.flow import Flow
from worker.gateway import Gateway
from worker.held import Held
from worker.journal import Journal
from worker.labels.provenance import INPUT, Origin, Provenance
from worker.mismatch import passed_over
from worker.outcome import Ask, GateShut, LostLease, Snooze, Stop, ToolFailed
from worker.pace import Pace
from worker.parking import Parking
from worker.pipeline import Catalogue, Pipeline
from worker.repetition import Repetition

log = structlog.get_logger()

_FIRST_FIX_S = 1.0
"""Before the second try of a run that raised; doubled before the third."""
_TRACEBACK_CHARS = 8000
_SHUT_DOWN = "its worker shut down; another goes on"


class Runner:
    """Carries runs for one worker process, hundreds at a time on one loop."""

    def __init__(
        self, catalogue: Catalogue, journal: Journal, gateway: Gateway, *, bug_limit: int
    ) -> None:
        self._catalogue = catalogue
        self._journal = journal
        self._gateway = gateway
        self._bug_limit = bug_limit

    async def run(self, held: Held) -> None:
        """Run until it finishes, snoozes, parks or is lost; the one place that catches."""
        structlog.contextvars.bind_contextvars(run=str(held.id), attempt=held.attempt)
        try:
            with self._gateway.gatekeeper.levels.hold(held):
                departure = await self._attempt(held)
            if departure is not None:
                held.departing = True
                departure.level = held.autonomy
                departure.detail = self._redact(departure.detail)
                await self._journal.leave(departure)
                if departure.status is RunStatus.FINISHED:
                    log.debug("run.finished", reason=departure.stop_reason, detail=departure.detail)
        except LostLease:
            held.lost = True
            log.warning("run.lost_lease", worker_held_s=round(time.monotonic() - held.started, 1))
        except DatabaseAway as error:
            # It is adopted when the database is back; should we die first, its lease runs out.
            held.lost = True
            log.warning("run.left_behind", error=str(error))
        except asyncpg.PostgresError as error:
            if not refused(error):
                raise
            # Its lease runs out; it is tried again so often as a crash is, and no more.
            await report(error, where="its worker")

    async def _attempt(self, held: Held) -> Departure | None:
        try:
            if held.attempt > 1 or held.forked:
                records = await self._journal.load(held.id)
                held.record = {each.step: each for each in records}
                held.pace = Pace(records)
                held.provenance = Provenance({r.step: r.said_bits for r in records if r.said_bits})
            policy = self._gateway.rulebook.of(held.tenant, held.pipeline)
            held.budget = held.budget.within(policy.agent.budgets)
            held.repetition = Repetition(policy.agent.loop_detection)
            return await self._body(held, self._catalogue[held.pipeline, held.version])
        except (LostLease, DatabaseAway):
            raise
        except Ask as ask:
            held.departing = True
            await self._journal.park(
                Parking(
                    held.id,
                    held.attempt,
                    held.tenant,
                    held.active_s(),
                    ask.questions,
                    uuid4(),
                    self._gateway.rulebook.revision,
                    held.autonomy,
                )
            )
            return None
        except asyncio.CancelledError:
            if held.lost:
                raise LostLease from None
            if held.cancelled:
                return self._finish(held, StopReason.CANCELLED)
            return self._snooze(held, Snooze(timedelta(0), WaitingFor.WORKER, _SHUT_DOWN))
        except Exception as error:  # noqa: BLE001  # a pipeline may raise anything
            return self._bug(held, error)

    async def _body(self, held: Held, pipeline: Pipeline[Any, Any]) -> Departure:
        try:
            given = pipeline.takes.model_validate_json(held.input)
        except ValidationError as error:
            return self._finish(held, StopReason.INVALID_INPUT, detail=faults(error)[:500])
        try:
            return await self._within_time(held, pipeline, given)
        except Stop as stop:
            return self._finish(held, stop.reason, detail=stop.shown(self._redact))
        except ToolFailed as failure:
            return self._finish(held, failure.reason, detail=str(failure))
        except Snooze as snooze:
            return self._snooze(held, snooze)
        except GateShut as shut:
            return self._shut(held, shut)

    async def _within_time(
        self, held: Held, pipeline: Pipeline[Any, Any], given: BaseModel
    ) -> Departure:
        flow = Flow(held, self._gateway, self._journal, pipeline.tools)
        held.provenance.origins[INPUT] = Origin(given, pipeline.takes, pipeline.trusts)
        left_s = held.budget.seconds - held.active_before_s
        held.limit = limit = asyncio.timeout(max(0.0, left_s))
        try:
            async with limit:
                result = await pipeline.body(flow, given)
        except TimeoutError:
            if not limit.expired():
                raise
            raise Stop(StopReason.TIME_BUDGET, held.budget.told(StopReason.TIME_BUDGET)) from None
        if held.record:
            _came_by(held)
        if not isinstance(result, pipeline.gives):
            raise TypeError(f"{held.pipeline} returned {type(result).__name__}, not its contract's")
        return self._finish(
            held,
            StopReason.SUCCESS,
            result=result.__pydantic_serializer__.to_json(result, warnings="error"),
        )

    @property
    def _redact(self) -> Redactor:
        return self._gateway.rulebook.file.policy.logging.redactor

    def _finish(
        self, held: Held, reason: StopReason, *, detail: str = "", result: bytes | None = None
    ) -> Departure:
        return Departure(
            run_id=held.id,
            attempt=held.attempt,
            status=RunStatus.FINISHED,
            active_s=held.active_s(),
            stop_reason=reason,
            detail=detail or None,
            result=result,
        )

    def _snooze(self, held: Held, snooze: Snooze) -> Departure:
        return Departure(
            run_id=held.id,
            attempt=held.attempt,
            status=RunStatus.QUEUED,
            active_s=held.active_s(),
            waiting_for=snooze.waiting_for,
            delay_s=snooze.delay.total_seconds(),
            detail=snooze.detail or None,
        )

    def _shut(self, held: Held, shut: GateShut) -> Departure:
        return Departure(
            run_id=held.id,
            attempt=held.attempt,
            status=RunStatus.WAITING,
            active_s=held.active_s(),
            waiting_for=WaitingFor.GATE,
            detail=f"the gate of {shut.scope} is shut: it waits until that is {shut.needs}",
            gate_scope=shut.scope,
            gate_mode=shut.needs,
        )

    def _bug(self, held: Held, error: Exception) -> Departure:
        """Record what was raised at once; try again later, for it may be the weather."""
        with contextlib.suppress(Exception):  # telemetry never decides over a run
            sentry_sdk.capture_exception(error)
        # Redacted before it is cut: half a secret is not recognised.
        told = self._redact("".join(traceback.format_exception(error)))[-_TRACEBACK_CHARS:]
        log.error("run.raised", pipeline=held.pipeline, error=self._redact(repr(error))[:500])
        final = held.bugs + 1 >= self._bug_limit
        return Departure(
            run_id=held.id,
            attempt=held.attempt,
            status=RunStatus.FINISHED if final else RunStatus.QUEUED,
            active_s=held.active_s(),
            stop_reason=StopReason.INTERNAL_ERROR if final else None,
            waiting_for=None if final else WaitingFor.FIX,
            delay_s=_FIRST_FIX_S * 2.0**held.bugs,
            detail=self._redact(f"{type(error).__name__}: {error}")[:500],
            error=orjson.dumps({"type": type(error).__name__, "traceback": told}),
            bug=1,
        )


def _came_by(held: Held) -> None:
    """At the end of a resumed run: it should have come by all that is on record.

    Raises:
        Stop: It has left out a write of its own, so its result does not tell what was done.
    """
    missed = [each for name, each in held.record.items() if name not in held.names]
    if not missed:
        return
    log.warning("run.passed_over", steps=[each.step for each in missed[:20]])
    for each in missed:
        if each.left_something:
            raise passed_over(each.step, each.tool)
