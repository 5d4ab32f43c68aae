"""A patient: one tool, as one worker process knows it."""

import math
import random
import time
from dataclasses import dataclass
from typing import Any

import structlog

from config.policy import CircuitBreakers
from models.breaker import BreakerState, Change
from models.run import WaitingFor
from tools.breaker import OwnBreaker
from tools.limiter import Limiter
from tools.permit import CallOutcome, Refused, Terms
from tools.window import Window

log = structlog.get_logger()

FRESH_S = 2.5
"""A view that is older is no view: ask before the call."""
FORCED_S = 30.0
"""How soon a run looks again at a tool that an operator holds shut; `auto` lets it go at once."""


class Patient:
    """What all workers have agreed on, as last seen, and what this one has seen by itself."""

    def __init__(self, tool: str, rules: CircuitBreakers) -> None:
        self.tool = tool
        self.rules = rules
        self.window = Window(rules.window_seconds)
        self.own = OwnBreaker()
        self.limiter = Limiter()
        self.state, self.epoch, self.until, self.openings = BreakerState.CLOSED, 0, 0.0, 0
        self.forced: BreakerState | None = None
        self.paced_until = 0.0
        self.easy_until = float("-inf")
        """Until then a call may start without asking anybody."""
        self.used = float("-inf")
        self.turn = 0
        """Grows whenever a breaker changes: what was called before says nothing of after."""
        self._uneasy = False
        self._taken_over = -1
        self._crowd = 0

    def op(self, do: str, rules: CircuitBreakers, *, now: float) -> dict[str, Any]:
        """What the board is asked or told; see health.lua."""
        view = {
            "epoch": self.epoch,
            "state": self.state,
            "left": max(0.0, self.until - now) * 1000,
            "openings": self.openings,
        }
        op: dict[str, Any] = {"do_": do, "tool": self.tool, "view": view}
        if do != "ask":
            op["window"] = rules.window_seconds * 1000
            op["counts"] = self.window.counts(now)._asdict() | {"epoch": self.epoch}
        if rules.enabled:
            op["rules"] = {
                "threshold": rules.failure_threshold,
                "share": rules.failure_share,
                "open": rules.open_seconds * 1000,
                "probes": rules.probes,
            }
        return op

    def saw(self, answer: dict[str, Any], now: float) -> Change | None:
        """Believe the board. Returns what has just become of the breaker, if we changed it."""
        state, left_s = BreakerState(answer["state"]), answer["left"] / 1000
        self._become(state, answer["epoch"], now + left_s, answer["openings"])
        self._uneasy = bool(answer["uneasy"])
        if answer["pace"]:
            self.pace(now + answer["pace"] / 1000)
        if state is not BreakerState.CLOSED:
            self.own.close()  # the fleet knows: it is not only us
        self._taken_over = -1
        self.ease(now)
        if not answer["changed"]:
            return None
        told = answer["told"]
        return Change(self.tool, state, self.epoch, self.openings, left_s, told)

    def change(self, now: float) -> Change:
        """As it stands, for the record."""
        return Change(self.tool, self.state, self.epoch, self.openings, self.until - now)

    def follow_rules(self, rules: CircuitBreakers) -> None:
        """The policy has changed."""
        if rules.window_seconds != self.window.span_s:
            self.window = Window(rules.window_seconds)
        self.rules = rules

    def follow(self, row: Change | None, now: float) -> None:
        """Believe what is on record, where it is the later story; an operator in any case."""
        self.forced = row.forced if row else None
        if row is not None and row.epoch > self.epoch:
            self._become(row.state, row.epoch, now + row.left_s, row.openings)
        if self.forced is BreakerState.OPEN or self.state is not BreakerState.CLOSED:
            self.easy_until = float("-inf")

    def ease(self, now: float) -> None:
        """Say whether calls may start without asking, for the next moment."""
        ill = self.state is not BreakerState.CLOSED and self._taken_over != self.epoch
        shut = ill or self.own.state is not BreakerState.CLOSED
        easy = not (shut or self._uneasy or self.forced or now < self.paced_until)
        self.easy_until = now + FRESH_S if easy else float("-inf")

    def pace(self, until: float) -> None:
        """It wants to be left alone until then."""
        if until > self.paced_until:
            self.paced_until = until
            self.easy_until = float("-inf")

    def wait_s(self, now: float, probes: int, *, alone: bool) -> float:
        """0 when a call may start as far as this process knows, else how long to stay away.

        With the board there, a breaker whose time is up is the board's to judge.
        """
        if self.state is BreakerState.OPEN and now < self.until:
            return self.until - now
        if alone and self.state is not BreakerState.CLOSED and self._taken_over != self.epoch:
            self.own.take_over(self.state, self.until, self.openings)
            self._taken_over = self.epoch
        return self.own.wait_s(now, probes)

    def again_s(self, terms: Terms, now: float, *, share: int) -> float:
        """0 when this process alone would pay for a further try, else how long to stay away."""
        good_per_s = self.window.counts(now).ok / self.window.span_s
        return self.limiter.again_s(terms, now, good_per_s=good_per_s, share=share)

    def heard(
        self, permit_id: str, turn: int, now: float, rules: CircuitBreakers, outcome: CallOutcome
    ) -> None:
        """What a call came to."""
        if self.own.give_back(permit_id) and outcome in {CallOutcome.OK, CallOutcome.FAILED}:
            self.own.heard(now, rules, failed=outcome is CallOutcome.FAILED)
            if self.own.state is BreakerState.CLOSED:
                self._turn()
        elif turn == self.turn and outcome is CallOutcome.OK:
            self.window.add(now, failed=False)
        elif turn == self.turn and outcome is CallOutcome.FAILED:
            self.window.add(now, failed=True)
            self.easy_until = float("-inf")

    def judge_alone(self, now: float) -> None:
        """Shut our own breaker when our own calls say so; see `Health` for when that counts."""
        rules = self.rules
        closed = self.own.state is BreakerState.CLOSED
        if rules.enabled and closed and self.window.counts(now).sick(rules):
            self.own.open(now, rules)
            self.turn += 1
            self.easy_until = float("-inf")
            log.warning("health.sick_here", tool=self.tool, open_s=round(self.own.until - now, 1))

    def refusal(self, waiting: WaitingFor, wait_s: float, told: str, *, workers: int) -> Refused:
        """Not now. Those who wait come back in cohorts that double, the first as large as what
        may start at once."""
        place = self._crowd * workers / self.rules.probes
        self._crowd += 1
        spread_s = math.log2(1 + place) + random.uniform(0, 0.3)  # noqa: S311  # jitter
        return Refused(waiting, wait_s + spread_s, f"{self.tool} {told}")

    def calm(self) -> None:
        """A second has gone by."""
        if self.state is BreakerState.CLOSED:
            self._crowd //= 2

    def _become(self, state: BreakerState, epoch: int, until: float, openings: int) -> None:
        self.until = until
        if (state, epoch) != (self.state, self.epoch):
            self.state, self.epoch, self.openings = state, epoch, openings
            self._turn()

    def _turn(self) -> None:
        self.turn += 1
        self._crowd = 0
        self.window.clear()


@dataclass(slots=True)
class Permit:
    """One call may start. Whoever has it reports, whatever happens."""

    patient: Patient
    terms: Terms
    since: float
    turn: int
    again: bool = False
    """It was tried before: this try is paid from the tool's budget of retries."""
    id: str = ""
    """Known on the board, or to our own breaker; empty where nobody counts it."""
    waits_s: float = 0.0
    """Its turn comes after so long."""
    begun: bool = False

    def begin(self) -> None:
        """The call leaves us now; from here on its time counts."""
        self.since, self.begun = time.monotonic(), True
