"""Doubt: what to do about a write that may or may not have happened."""

import time
from datetime import timedelta
from typing import Any

from models.ledger import EntryState
from models.review import ReviewKind
from models.run import WaitingFor
from tools.tool import Call, Effect, Lookup, ToolError
from worker.order import Order
from worker.outcome import Ask, Question, Snooze

UNANSWERED = frozenset({EntryState.RESERVED, EntryState.IN_DOUBT})
MARGIN_S = 1.0
"""Added to the moment from which a request can no longer be under way."""
KEY_SHARE = 0.9
"""Of the time for which a target keeps our key, how much is relied on."""
DECIDE_WITHIN = timedelta(days=7)
_LOOK_AGAIN_S = 5.0


def quiet_s(order: Order, send_s: float) -> float:
    """From its intent on, for how long a write may start to leave, and then be under way."""
    return send_s + order.ruling.timeout_s + MARGIN_S


class Doubt:
    """What is not known of the earlier tries of one step."""

    def __init__(self, order: Order) -> None:
        record = order.record
        self._order = order
        self._tool = order.tool
        self._since = time.monotonic() - (record.age_s if record else 0)
        self.open = order.tool.writes and record is not None and record.state in UNANSWERED
        self._clear_at = time.monotonic() + (record.clear_s if record else 0)

    def age_s(self) -> float:
        """Since the first intent of the step."""
        return time.monotonic() - self._since

    def arise(self, clear_at: float) -> None:
        """A try that may be under way until then got no answer that can be relied on."""
        self.open = self._tool.writes
        self._clear_at = max(self._clear_at, clear_at)

    async def resolve(self, call: Call, *, may_send: bool = True) -> Any | None:
        """Find out whether an earlier try happened; return its result, or None to send (again).

        A target that keeps our key decides by itself: the same key again changes nothing more,
        and leaves the doubt open until it is answered. One that does not is looked up, and not
        before the earlier request can no longer be under way. While nothing may be sent, looking
        goes first wherever it is possible.

        Raises:
            Snooze: It is too early to look.
            Ask: Nobody but a person can find out.
        """
        tool = self._tool
        arrives_s = self.age_s() + call.deadline - time.monotonic() + MARGIN_S
        send_first = may_send or tool.lookup is None
        known_there = tool.effect is Effect.WRITE and arrives_s < tool.key_kept_for_s * KEY_SHARE
        if known_there and send_first:
            return None
        if tool.lookup is None:
            raise self.ask()
        self._wait(tool.sees_after_s)
        try:
            sighting = await tool.lookup(self._order.args, call)
        except ToolError as error:
            raise Snooze(timedelta(seconds=_LOOK_AGAIN_S), WaitingFor.DOUBT, str(error)) from error
        if sighting.seen is Lookup.FOUND and sighting.result is not None:
            return sighting.result
        if sighting.seen is not Lookup.ABSENT:
            raise self.ask()
        self.open = False
        return None

    def ask(self) -> Ask:
        """The question to a person: did it happen?

        Raises:
            Snooze: The earlier request may be under way still: whoever answered now could be wrong.
        """
        self._wait(0)
        args, tool = self._order.args, self._tool
        return Ask(
            [
                Question(
                    step=self._order.step,
                    number=self._order.number,
                    kind=ReviewKind.IN_DOUBT,
                    text=f"{tool.name} was sent and never answered. Did it happen?"
                    " happened: with this result; did_not_happen: send it again; abandoned",
                    proposal=args.__pydantic_serializer__.to_json(args),
                    answer_schema=tool.gives.model_json_schema(),
                    args_hash=self._order.digest,
                    decide_within=DECIDE_WITHIN,
                    fresh=False,
                )
            ]
        )

    def _wait(self, longer_s: float) -> None:
        left_s = self._clear_at + longer_s - time.monotonic()
        if left_s > 0:
            raise Snooze(
                timedelta(seconds=left_s), WaitingFor.DOUBT, "an earlier try may be on its way"
            )
