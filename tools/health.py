"""The health of tools: who may call one now, as one worker process sees it, with all the others.

tool well, no limits       admitted at once: this process's view is about a second old at most
failures, probes, limits   one script call before, and one after where there is news
a further try              the same script call: it is paid from the tool's budget of retries
breaker open, or paced     refused at once
Redis away                 this process's own breaker, and its share of limits and budget
"""

import asyncio
import itertools
import random
import time
from uuid import UUID

from config.policy import CircuitBreakers
from models.breaker import BreakerState
from models.run import WaitingFor
from tools.limiter import BOOKED_S
from tools.patient import FORCED_S, Patient, Permit
from tools.permit import CallOutcome, Refused, Terms
from tools.ward import Ward

LOOK_S = 1.0
PACED_S = 1.0
"""How long a tool is left alone that answered 429 without saying for how long."""
_WHY = {
    "breaker": (WaitingFor.BREAKER, "is ill: its breaker is not closed"),
    "rate": (WaitingFor.RATE, "takes no more calls just now"),
    "busy": (WaitingFor.RATE, "has as many calls under way as it may have"),
    "again": (WaitingFor.TOOL, "has been tried again so often that its retry budget is spent"),
}


class Health:
    """One per worker process."""

    def __init__(self, worker: UUID) -> None:
        self._ward = Ward(worker)
        self._board = self._ward.board
        self._patients = self._ward.patients
        self._name = worker.hex[:12]
        self._numbers = itertools.count(1)

    def connect(self, redis_url: str) -> None:
        """From now on, share what is known with the workers on this Redis."""
        self._board.connect(redis_url)

    async def run(self) -> None:
        """Look and tell about once a second until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S * random.uniform(0.8, 1.0))  # noqa: S311  # jitter

    async def look(self) -> None:
        """Tell the board how our windows stand; see what others and operators have said."""
        await self._ward.look()

    async def close(self) -> None:
        await self._ward.close()

    async def admit(
        self, tool: str, terms: Terms, *, lease_s: float, halved: bool = False, again: bool = False
    ) -> Permit:
        """Let a call start, now or after `waits_s`; within `lease_s` it is over.

        `again`: it was tried before, and this try is paid from the tool's budget of retries.

        Raises:
            Refused: Not now; it says how long to stay away, and for what.
        """
        permit = self.at_once(tool, terms)
        if permit is not None and not again:
            return permit
        await self._ward.meet()
        patient = self._ward.patient(tool, terms.breakers)
        started = Permit(patient, terms, time.monotonic(), patient.turn, again=again)
        return await self._ask(started, lease_s, halved=halved)

    def at_once(self, tool: str, terms: Terms) -> Permit | None:
        """A permit for a tool that is well and without limits; None: `admit` has to look."""
        now = time.monotonic()
        patient = self._patients.get(tool)
        if patient is None or patient.rules is not terms.breakers:
            patient = self._ward.patient(tool, terms.breakers)
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
        patient.heard(permit.id, permit.turn, now, rules, outcome)
        pace_s = None
        if outcome is CallOutcome.PACED:
            pace_s = PACED_S if retry_after_s is None else retry_after_s
            patient.pace(now + pace_s)
        if permit.id:
            unpaid = permit.again and outcome is CallOutcome.UNUSED
            patient.limiter.leave(permit.id, unpaid=unpaid)
        if permit.id or pace_s is not None or outcome is CallOutcome.FAILED:
            self._ward.tell(permit, outcome, pace_s)

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
            if not (terms.limited or permit.again):
                return permit
        permit.id = f"{self._name}:{next(self._numbers)}"
        self._pass_our_own(permit, rules, now + lease_s, alone=not self._board.there)
        answer = None
        try:
            op = patient.op("ask", rules, now=now) | terms.op(slower=1 + halved, again=permit.again)
            op |= {"id": permit.id, "lease": lease_s * 1000, "book": BOOKED_S * 1000}
            answer = await self._board(op)
            if answer is None:
                self._pass_our_own(permit, rules, now + lease_s, alone=True)
                self._share_alone(permit, now, lease_s, halved=halved)
            else:
                self._ward.saw(patient, answer)
                if answer["refused"]:
                    raise self._refusal(patient, answer["refused"], answer["wait"] / 1000)
                permit.waits_s = answer["wait"] / 1000
        except BaseException:
            patient.own.give_back(permit.id)
            if answer is None:  # we may have been called off while the board was about to say yes
                self._ward.tell(permit, CallOutcome.IGNORED)
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
        probes = max(1, rules.probes // self._ward.workers) if alone else rules.probes
        wait_s = permit.patient.wait_s(permit.since, probes, alone=alone)
        if wait_s > 0:
            raise self._refusal(permit.patient, "breaker", wait_s)
        own.lend(permit.id, ends)

    def _share_alone(self, permit: Permit, now: float, lease_s: float, *, halved: bool) -> None:
        share = self._ward.workers * (1 + halved)
        patient, terms = permit.patient, permit.terms
        if permit.again and (wait_s := patient.again_s(terms, now, share=self._ward.workers)) > 0:
            raise self._refusal(patient, "again", wait_s)
        allowed, wait_s = patient.limiter.enter(
            permit.id, terms, now, ends=now + lease_s, share=share
        )
        if not allowed:
            raise self._refusal(patient, "rate" if wait_s else "busy", wait_s)
        if permit.again:
            patient.limiter.pay()
        permit.waits_s = wait_s

    def _refusal(self, patient: Patient, why: str, wait_s: float) -> Refused:
        waiting, told = _WHY[why]
        return patient.refusal(waiting, wait_s, told, workers=self._ward.workers)
