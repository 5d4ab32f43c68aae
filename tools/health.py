"""The health of tools: who may call one now, as one worker process sees it, with all the others.

tool well, no limits       admitted at once: this process's view is about a second old at most
failures, probes, limits   one script call before, and one after where there is news
breaker open, or paced     refused at once
Redis away                 this process's own breaker, and its share of the limits
"""

import asyncio
import itertools
import random
import time
from collections.abc import Coroutine
from typing import Any
from uuid import UUID

import structlog

from config.policy import CircuitBreakers
from models.breaker import BreakerState
from models.run import WaitingFor
from tools.board import Board
from tools.chart import Chart
from tools.limiter import BOOKED_S
from tools.patient import FORCED_S, FRESH_S, Patient, Permit
from tools.permit import CallOutcome, Refused, Terms

log = structlog.get_logger()

LOOK_S = 1.0
PACED_S = 1.0
"""How long a tool is left alone that answered 429 without saying for how long."""
_FORGET_S = 120.0
_WHY = {
    "breaker": (WaitingFor.BREAKER, "is ill: its breaker is not closed"),
    "rate": (WaitingFor.RATE, "takes no more calls just now"),
    "busy": (WaitingFor.RATE, "has as many calls under way as it may have"),
}


class Health:
    """One per worker process."""

    def __init__(self, worker: UUID) -> None:
        self._board = Board(worker.hex)
        self._name = worker.hex[:12]
        self._numbers = itertools.count(1)
        self._patients: dict[str, Patient] = {}
        self._workers = 1
        self._tasks: set[asyncio.Task[None]] = set()
        self._chart = Chart()
        self._charted_until = 0.0

    def connect(self, redis_url: str) -> None:
        """From now on, share what is known with the workers on this Redis."""
        self._board.connect(redis_url)

    async def run(self) -> None:
        """Look and tell about once a second until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S * random.uniform(0.8, 1.0))  # noqa: S311  # jitter

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._board.close()

    async def admit(
        self, tool: str, terms: Terms, *, lease_s: float, halved: bool = False
    ) -> Permit:
        """Let a call start, now or after `waits_s`; within `lease_s` it is over.

        Raises:
            Refused: Not now; it says how long to stay away, and for what.
        """
        if (permit := self.at_once(tool, terms)) is not None:
            return permit
        patient = self._patients[tool]
        started = Permit(patient, terms, patient.used, patient.turn)
        return await self._ask(started, lease_s, halved=halved)

    def at_once(self, tool: str, terms: Terms) -> Permit | None:
        """A permit for a tool that is well and without limits; None: `admit` has to look."""
        now = time.monotonic()
        patient = self._patients.get(tool)
        if patient is None or patient.rules is not terms.breakers:
            patient = self._patient(tool, terms.breakers)
        patient.used = now
        if now < patient.easy_until and not terms.limited:
            return Permit(patient, terms, now, patient.turn)
        return None

    def report(
        self, permit: Permit, outcome: CallOutcome, *, retry_after_s: float | None = None
    ) -> None:
        """Say what a call came to. Nobody waits for the board to hear it."""
        now, patient, rules = time.monotonic(), permit.patient, permit.terms.breakers
        slow_s = rules.slow_seconds
        if slow_s is not None and outcome is CallOutcome.OK and now - permit.since > slow_s:
            outcome = CallOutcome.FAILED
        if outcome is CallOutcome.OK and not permit.id:  # of most calls there is no more to say
            if permit.turn == patient.turn:
                patient.window.add(now, failed=False)
            return
        if rules.enabled:
            patient.heard(permit.id, permit.turn, now, rules, outcome)
        pace_s = None
        if outcome is CallOutcome.PACED:
            pace_s = PACED_S if retry_after_s is None else retry_after_s
            patient.pace(now + pace_s)
        if permit.id:
            patient.limiter.leave(permit.id)
        if permit.id or pace_s is not None or outcome is CallOutcome.FAILED:
            self._begin(self._tell(permit, outcome, pace_s))

    async def look(self) -> None:
        """Tell the board how our windows stand; see what others and operators have said."""
        self._forget(time.monotonic())
        await asyncio.gather(*(self._look(each) for each in list(self._patients.values())))
        if (read := await self._chart.read()) is None:
            return
        told, workers = read
        self._charted_until = (now := time.monotonic()) + FRESH_S
        if not self._board.there:
            self._workers = max(1, workers)
        for tool, each in told.items():
            if each.forced or each.state is not BreakerState.CLOSED:
                self._patients.setdefault(tool, Patient(tool, CircuitBreakers()))
        for patient in self._patients.values():
            row = told.get(patient.tool)
            if patient.epoch > (row.epoch if row else 0):  # whoever changed it has not come to it
                self._chart.note(patient.change(now))
            patient.follow(row, now)
        await self._chart.write()

    async def _look(self, patient: Patient) -> None:
        patient.calm()
        op = patient.op("look", patient.rules, now=time.monotonic())
        self._saw(patient, await self._board(op, again=True))
        self._judge_alone(patient)

    async def _tell(self, permit: Permit, outcome: CallOutcome, pace_s: float | None) -> None:
        patient, terms = permit.patient, permit.terms
        op = patient.op("tell", terms.breakers, now=time.monotonic())
        op |= terms.op() | {"id": permit.id, "outcome": outcome}
        if pace_s is not None:
            op["pace"] = pace_s * 1000
        self._saw(patient, await self._board(op))
        if outcome is CallOutcome.FAILED:
            self._judge_alone(patient)
        await self._chart.write()

    async def _ask(self, permit: Permit, lease_s: float, *, halved: bool) -> Permit:
        patient, terms, now = permit.patient, permit.terms, permit.since
        rules, forced = terms.breakers, patient.forced
        if forced is BreakerState.OPEN:
            told = "is held shut by an operator"
            raise patient.refusal(WaitingFor.BREAKER, FORCED_S, told, workers=1)
        if (wait_s := patient.paced_until - now) > 0:
            raise self._refusal(patient, "rate", wait_s)
        if not rules.enabled or forced is not None:
            rules = rules.model_copy(update={"enabled": False})
            if not terms.limited:
                return permit
        permit.id = f"{self._name}:{next(self._numbers)}"
        self._pass_our_own(permit, rules, now + lease_s, alone=not self._board.there)
        answer = None
        try:
            op = patient.op("ask", rules, now=now) | terms.op(slower=1 + halved)
            op |= {"id": permit.id, "lease": lease_s * 1000, "book": BOOKED_S * 1000}
            answer = await self._board(op)
            if answer is None:
                self._pass_our_own(permit, rules, now + lease_s, alone=True)
                self._share_alone(permit, now, lease_s, halved=halved)
            else:
                self._saw(patient, answer)
                if answer["refused"]:
                    raise self._refusal(patient, answer["refused"], answer["wait"] / 1000)
                permit.waits_s = answer["wait"] / 1000
        except BaseException:
            patient.own.give_back(permit.id)
            if answer is None:  # we may have been called off while the board was about to say yes
                self._begin(self._tell(permit, CallOutcome.IGNORED, None))
            raise
        permit.turn = patient.turn
        return permit

    def _pass_our_own(
        self, permit: Permit, rules: CircuitBreakers, ends: float, *, alone: bool
    ) -> None:
        if not rules.enabled:
            return
        own = permit.patient.own
        own.give_back(permit.id)
        probes = max(1, rules.probes // self._workers) if alone else rules.probes
        wait_s = permit.patient.wait_s(permit.since, probes, alone=alone)
        if wait_s > 0:
            raise self._refusal(permit.patient, "breaker", wait_s)
        own.lend(permit.id, ends)

    def _share_alone(self, permit: Permit, now: float, lease_s: float, *, halved: bool) -> None:
        share = self._workers * (1 + halved)
        allowed, wait_s = permit.patient.limiter.enter(
            permit.id, permit.terms, now, ends=now + lease_s, share=share
        )
        if not allowed:
            raise self._refusal(permit.patient, "rate" if wait_s else "busy", wait_s)
        permit.waits_s = wait_s

    def _saw(self, patient: Patient, answer: dict[str, Any] | None) -> None:
        now = time.monotonic()
        if answer is None:
            patient.ease(now)
            return
        self._workers = answer["workers"]
        change = patient.saw(answer, now)
        if change is not None:
            self._chart.note(change)
            log.warning("breaker.changed", tool=patient.tool, state=change.state, why=change.told)

    def _judge_alone(self, patient: Patient) -> None:
        """Where the board is away, or thinks that only we are sick, our own calls decide for us."""
        if not self._board.there or (self._workers > 1 and patient.state is BreakerState.CLOSED):
            patient.judge_alone(time.monotonic())

    def _refusal(self, patient: Patient, why: str, wait_s: float) -> Refused:
        waiting, told = _WHY[why]
        return patient.refusal(waiting, wait_s, told, workers=self._workers)

    def _patient(self, tool: str, rules: CircuitBreakers) -> Patient:
        patient = self._patients.get(tool)
        if patient is None:
            patient = self._patients[tool] = Patient(tool, rules)
            if (now := time.monotonic()) < self._charted_until:
                patient.ease(now)  # or it would stand in the chart
        patient.follow_rules(rules)
        return patient

    def _forget(self, now: float) -> None:
        for tool, each in list(self._patients.items()):
            if now - each.used > _FORGET_S and each.state is BreakerState.CLOSED:
                del self._patients[tool]

    def _begin(self, telling: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(telling)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
