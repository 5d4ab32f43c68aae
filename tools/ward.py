"""A ward: all tools that one worker process uses, and what it and the others tell of them."""

import asyncio
import time
from typing import Any
from uuid import UUID

import structlog

from config.policy import CircuitBreakers
from models.breaker import BreakerState
from tools.board import Board
from tools.chart import Chart
from tools.patient import FRESH_S, Patient, Permit
from tools.permit import CallOutcome

log = structlog.get_logger()

_FORGET_S = 120.0


class Ward:
    """One per worker process."""

    def __init__(self, worker: UUID) -> None:
        self.board = Board(worker.hex)
        self.patients: dict[str, Patient] = {}
        self.workers = 1
        """How many share the tools, as far as this one knows."""
        self.tasks: set[asyncio.Task[None]] = set()
        self._chart = Chart()
        self._charted_until = 0.0
        self.charted = False
        """Whether the chart was ever read: before that nobody knows what an operator holds shut."""
        self._meeting = asyncio.Lock()

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.board.close()

    def patient(self, tool: str, rules: CircuitBreakers) -> Patient:
        """The tool under these rules, known or new."""
        patient = self.patients.get(tool)
        if patient is None:
            patient = self.patients[tool] = Patient(tool, rules)
            if (now := time.monotonic()) < self._charted_until:
                patient.ease(now)  # or it would stand in the chart
        patient.follow_rules(rules)
        return patient

    async def look(self) -> None:
        """Tell the board how our windows stand; see what others and operators have said."""
        await self.meet()
        self._forget(time.monotonic())
        # A tool that is known from the chart alone is not ours to judge, nor are its rules known.
        ours = [each for each in self.patients.values() if each.used > float("-inf")]
        await asyncio.gather(*(self._look(each) for each in ours))
        await self._consult()

    async def meet(self) -> None:
        """Consult the chart before the first call: what an operator forced outlives a restart."""
        if not self.charted:
            async with self._meeting:
                if not self.charted:
                    await self._consult()

    async def _consult(self) -> None:
        if (read := await self._chart.read()) is None:
            return
        told, workers = read
        self.charted, self._charted_until = True, (now := time.monotonic()) + FRESH_S
        if not self.board.there:
            self.workers = max(1, workers)
        for tool, each in told.items():
            if each.forced or each.state is not BreakerState.CLOSED:
                self.patients.setdefault(tool, Patient(tool, CircuitBreakers()))
        for patient in self.patients.values():
            row = told.get(patient.tool)
            if patient.epoch > (row.epoch if row else 0):  # whoever changed it has not come to it
                self._chart.note(patient.change(now))
            patient.follow(row, now)
        await self._chart.write()

    def tell(self, permit: Permit, outcome: CallOutcome, pace_s: float | None = None) -> None:
        """Tell the board what a call came to; nobody waits for it."""
        task = asyncio.create_task(self._tell(permit, outcome, pace_s))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def saw(self, patient: Patient, answer: dict[str, Any] | None) -> None:
        """Believe what the board said, and keep for the record what we have changed there."""
        now = time.monotonic()
        if answer is None:
            patient.ease(now)
            return
        self.workers = answer["workers"]
        change = patient.saw(answer, now)
        if change is not None:
            self._chart.note(change)
            log.warning("breaker.changed", tool=patient.tool, state=change.state, why=change.told)

    async def _look(self, patient: Patient) -> None:
        patient.calm()
        op = patient.op("look", patient.rules, now=time.monotonic())
        self.saw(patient, await self.board(op, again=True))
        self._judge_alone(patient)

    async def _tell(self, permit: Permit, outcome: CallOutcome, pace_s: float | None) -> None:
        patient, terms = permit.patient, permit.terms
        op = patient.op("tell", terms.breakers, now=time.monotonic())
        op |= terms.op(again=permit.again) | {"id": permit.id, "outcome": outcome}
        if pace_s is not None:
            op["pace"] = pace_s * 1000
        self.saw(patient, await self.board(op))
        if outcome is CallOutcome.FAILED:
            self._judge_alone(patient)
        await self._chart.write()

    def _judge_alone(self, patient: Patient) -> None:
        """Where the board is away, or thinks that only we are sick, our own calls decide for us."""
        if not self.board.there or (self.workers > 1 and patient.state is BreakerState.CLOSED):
            patient.judge_alone(time.monotonic())

    def _forget(self, now: float) -> None:
        for tool, each in list(self.patients.items()):
            well = each.state is BreakerState.CLOSED and each.forced is None
            if well and now - each.used > _FORGET_S:
                del self.patients[tool]
