"""A trip: one call's way from its intent to its outcome."""

import asyncio
import contextlib
import time
from datetime import timedelta
from functools import partial
from typing import Any, NoReturn
from uuid import UUID

import orjson

from models.ledger import EntryState, StepKind
from models.run import StopReason, WaitingFor
from tools.permit import CallOutcome, Refused
from tools.tool import Ambiguous, Call, Rejected, ToolError, Unavailable
from worker import retry
from worker.approval import warrant
from worker.checkpoint import NOTHING, Entry
from worker.doubt import UNANSWERED, Doubt, quiet_s
from worker.gatekeeper import Gatekeeper
from worker.held import Held
from worker.journal import Journal
from worker.mandate import unapproved
from worker.order import Order
from worker.outcome import LostLease, OutOfFunds, Snooze, Stop, ToolFailed, Unapproved
from worker.purse import Purse
from worker.refusal import snoozed
from worker.token import token
from worker.turnstile import Turnstile, Visit
from worker.use import checked, in_time

_NO_TOKEN = UUID(int=0)  # until a try makes one of its own


class Trip:
    """One call's way from the intent to the outcome."""

    def __init__(
        self, journal: Journal, gatekeeper: Gatekeeper, turnstile: Turnstile, held: Held,
        order: Order, *, send_s: float,
    ) -> None:  # fmt: skip
        """`send_s`: for how long after its intent a try may start to leave."""
        record = order.record
        self._journal, self._gatekeeper, self._turnstile = journal, gatekeeper, turnstile
        self._visit, self._held, self._order, self._tool = Visit(), held, order, order.tool
        self._send_s, self._quiet_s = send_s, quiet_s(order, send_s)
        paid = order.worst.usd > 0 or self._tool.worst is not None
        self._admitted = self._tool.writes or paid or bool(order.asks or order.warrant)
        """Whether the call leaves an intent before it leaves us."""
        leaves = send_s if self._admitted else None
        self._call = partial(order.call, held.id, held.tenant, send_s=leaves)
        self._token = record.token if record else _NO_TOKEN
        self._tries, self._before = 0, record.tries if record else 0
        self._doubt, self._called_off = Doubt(order), False
        self._released = record is not None and record.state is EntryState.RELEASED
        self._purse = Purse(held, order, unanswered=bool(record and record.state in UNANSWERED))

    async def make(self) -> Any:
        """Come back with the result; see `Gateway.call` for the other ways back. A write that has
        begun is brought to its end before the run's cancellation is passed on."""
        if self._order.unfit is not None:
            await self._fail(self._order.unfit)
        if not self._tool.writes:
            return await self._try_until_over()
        writing = asyncio.ensure_future(self._try_until_over())
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            self._called_off = True
            while not writing.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([writing])
            if not writing.cancelled():
                writing.exception()  # what it came to is in the ledger
            raise

    async def _try_until_over(self) -> Any:
        while True:
            if (found := await self._found()) is not None:
                return await self._succeed(found)
            try:
                result = await self._try()
            except (Refused, OutOfFunds) as later:
                await self._stand_aside(later)
            except Rejected as error:
                if self._doubt.open:  # what this one was refused, the earlier may have done
                    raise self._doubt.ask() from error
                await self._fail(error)
            except Ambiguous as error:
                self._doubt.arise(self._visit.since + self._quiet_s)
                await self._wait(error, None)
            except Unavailable as error:
                # While an earlier try is in doubt, this one's refusal says nothing about it.
                if self._admitted and not self._doubt.open:
                    await self._release(error)
                await self._wait(error, error.retry_after_s)
            else:
                return await self._succeed(result)

    async def _try(self) -> Any:
        if not self._gatekeeper.clear:
            await self._gatekeeper.admit(self._held, self._tool)
        order, again = self._order, self._before + self._tries > 0
        visit = None if again else self._turnstile.at_once(order)
        with visit or await self._turnstile.enter(self._held, order, again=again) as self._visit:
            if self._admitted:
                await self._admit()
            self._tries += 1
            return await self._send(self._call(since=self._visit.since))

    async def _found(self) -> Any | None:
        """What an earlier try left behind, if there was one and it can be known."""
        if self._called_off:
            raise asyncio.CancelledError
        if not self._doubt.open:
            return None
        await self._gatekeeper.admit(self._held, self._tool, looking=True)
        shut = self._gatekeeper.careful(self._held, self._tool)
        return await self._doubt.resolve(self._call(since=time.monotonic()), may_send=not shut)

    async def _admit(self) -> None:
        self._token, ruling = token(), self._order.ruling
        reserve = self._purse.open()
        intent = self._entry(
            EntryState.RESERVED,
            usd=reserve,
            send_within_s=self._send_s,
            quiet_within_s=self._quiet_s,
            needs=self._gatekeeper.needs(self._tool),
            fresh=self._order.record is None and self._tries == 0,
            tenant_usd=ruling.tenant_usd,
            fleet_usd=ruling.fleet_usd,
            warrant=warrant(self._order),
        )
        try:
            await self._journal.intend(intent)
        except BaseException as refusal:
            self._purse.shut(reserve)  # nothing was charged
            if not isinstance(refusal, Unapproved):
                raise
            if self._doubt.open:
                raise self._doubt.ask() from None
            raise await unapproved(self._order, self._held) from None
        self._purse.reserved += reserve
        self._released = False

    async def _stand_aside(self, later: Refused | OutOfFunds) -> NoReturn:
        """Leave for a while, with a row that says since when; in the end give up."""
        left_s = self._order.ruling.max_wait_s - self._doubt.age_s()
        if left_s <= 0 and isinstance(later, OutOfFunds):
            raise Stop(StopReason.COST_BUDGET, later.told)
        if left_s <= 0 and self._doubt.open:
            raise self._doubt.ask()
        if left_s <= 0:
            await self._fail(Unavailable(later.told, reason=later.reason))
        if not (self._admitted if self._tries else self._order.record):
            self._released = True
            await self._write(EntryState.RELEASED, error=orjson.dumps({"message": later.told}))
        raise snoozed(later, min(later.wait_s, left_s))

    async def _send(self, call: Call) -> Any:
        if self._called_off:
            raise Unavailable("the run was called off before its write left")
        if time.monotonic() > call.send_before:
            raise Unavailable("the intent took too long to commit; nothing was sent")
        self._visit.begins()
        args, ruling = self._order.args, self._order.ruling
        return await in_time(self._tool, args, call, ruling.timeout_s, ruling.logging.redactor)

    async def _succeed(self, result: Any) -> Any:
        try:
            written, value = checked(self._tool, result, self._order.ruling.most_bytes[1])
        except Rejected as error:  # it happened, whatever it says: final, and never sent again
            self._visit.ends(CallOutcome.FAILED)
            await self._fail(error)
        self._visit.ends(CallOutcome.OK)
        await self._write(EntryState.SETTLED, result=written, usd=self._order.worst.usd)
        self._order.result = written
        return value

    async def _fail(self, error: ToolError) -> NoReturn:
        """Record a final failure; it is the step's outcome for every replay."""
        told = orjson.dumps({"reason": error.reason, "message": str(error)})
        usd = NOTHING if self._released else self._order.worst.usd  # surely not sent costs nothing
        await self._write(EntryState.REJECTED, error=told, usd=usd)
        raise ToolFailed(str(error), error.reason) from error

    async def _release(self, error: ToolError) -> None:
        """Nothing happened: the money goes back, and the next try is a new intent."""
        told = orjson.dumps({"reason": error.reason, "message": str(error)})
        await self._write(EntryState.RELEASED, error=told)
        self._released = True

    async def _wait(self, error: ToolError, retry_after_s: float | None) -> None:
        """Pause before the next try, or leave for longer, or give up."""
        ruling, tries = self._order.ruling, self._before + self._tries
        pause = retry.pause(tries, retry_after_s, ruling.backoff_ms)
        over = self._doubt.age_s() + pause.seconds > ruling.max_wait_s or tries >= ruling.tries
        if (over or not ruling.worth_another(error)) and not self._doubt.open:
            await self._fail(error)
        if self._called_off:
            raise asyncio.CancelledError
        careful = self._gatekeeper.careful(self._held, self._tool)
        here = not careful and self._tries < ruling.attempts and pause.seconds <= retry.IN_PLACE_S
        if here and not over:
            await asyncio.sleep(pause.seconds)
            return
        if over:  # in doubt to the end: a person decides
            raise self._doubt.ask()
        if not self._admitted:
            await self._write(EntryState.RELEASED, error=orjson.dumps({"message": str(error)}))
        waiting = WaitingFor.RATE if error.reason is StopReason.TOOL_RATE_LIMIT else WaitingFor.TOOL
        raise Snooze(timedelta(seconds=pause.snooze_s * (1 + careful)), waiting, str(error))

    async def _write(self, state: EntryState, *, usd: Any = NOTHING, **outcome: Any) -> None:
        usd = self._order.charged(usd)
        reserved = self._admitted and not self._released
        if not reserved:
            self._token = token()  # there is no intent to settle: this is a row of its own
        tokens = self._order.used()
        entry = self._entry(state, usd=usd, tokens=tokens, **outcome)
        try:
            await (self._journal.settle if reserved else self._journal.record)(entry)
        except LostLease:
            if reserved and self._tool.writes:
                await self._journal.testify(entry)
            raise
        self._purse.settle(usd, tokens)

    def _entry(self, state: EntryState, **more: Any) -> Entry:
        return Entry(
            run_id=self._held.id,
            attempt=self._held.attempt,
            step=self._order.step,
            number=self._order.number,
            kind=StepKind.CALL,
            args_hash=self._order.digest,
            token=self._token,
            state=state,
            tool=self._tool.name,
            effect=self._tool.effect,
            args=self._order.passed,
            policy=self._order.ruling.revision,
            labels=self._order.judged.labels,
            release_usd=self._purse.reserved,
            tries=self._tries if state is EntryState.RELEASED else max(self._tries, 1),
            **more,
        )
