"""An order: what a pipeline wants done, checked and ready to leave."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from models.guard import Guard
from models.ledger import StepKind
from models.run import StopReason
from tools.tool import Call, Rejected, Tool
from tools.worst import Worst
from worker.labels.sinks import UNJUDGED, Judged
from worker.mismatch import Asked
from worker.outcome import Stop
from worker.record import Record
from worker.ruling import Ruling
from worker.warrant import Warrant

_NOTHING = Worst(Decimal(0))


class Proposed(BaseModel, frozen=True):
    """A call that was put to a person."""

    id: UUID
    """The review's."""


@dataclass(slots=True)
class Order:
    """What is to be done: one step, one tool, one set of arguments."""

    step: str
    number: int
    tool: Tool[Any, Any]
    args: BaseModel
    passed: bytes
    """The arguments as the pipeline gave them, before defaults."""
    digest: bytes
    record: Record | None
    ruling: Ruling
    proposed: bool = False
    """A model chose the call, not the pipeline."""
    judged: Judged = UNJUDGED
    asks: tuple[str, ...] = ()
    """Why a person must have approved it."""
    aside: str = ""
    """Why it is put to a person instead of being made; empty: it is made."""
    proposes: bool = False
    """To put it to a person is what the step is for."""
    edited: bool = False
    """A person has put other arguments in the place of the pipeline's,"""
    unfit: Rejected | None = None
    """and the tool does not take them."""
    warrant: Warrant | None = None
    """It carries out an approved proposal: under this."""
    result: bytes = b""
    """As it was recorded, once it is."""
    cost_usd: Decimal = Decimal(0)
    """As it was booked last."""
    _bill: list[Decimal] = field(default_factory=list)
    """What the tool said that its tries were charged, since the last row that booked it."""
    _tokens: list[int] = field(default_factory=list)
    """Likewise, what they used."""
    worst: Worst = _NOTHING
    """The most that one try may use; known once it is reckoned."""

    @property
    def asked(self) -> Asked:
        return Asked(
            StepKind.PROPOSE if self.proposes else StepKind.CALL, self.tool.name, self.passed
        )

    @property
    def questionable(self) -> bool:
        """A person may have to allow it, under its own run."""
        asks = self.proposed or self.edited or self.ruling.approval is not None
        return bool(asks or self.judged.faults) and not self.aside and self.warrant is None

    @property
    def origin(self) -> tuple[type[BaseModel], tuple[str, ...]]:
        """What the step gives, and what of that is no text from outside."""
        return (Proposed, ("/id",)) if self.proposes else (self.tool.gives, self.tool.trusted)

    def reckon(self) -> None:
        """See what a try may cost at most.

        Raises:
            Stop: Nobody can say, so that no budget could be kept.
        """
        if self.tool.worst is None:
            self.worst = Worst(self.tool.cost_usd)
            return
        try:
            self.worst = self.tool.worst(self.args)
        except Rejected as error:
            raise Stop(StopReason.TOOL_DENIED, str(error), Guard.BUDGET) from error

    def lost(self, usd: Decimal) -> None:
        """Book the reservation of an earlier try: it may have been billed, and nobody can say."""
        if usd > 0 or self.worst.tokens > 0:
            self._bill.append(usd)
            self._tokens.append(self.worst.tokens)

    def used(self) -> int:
        """The tokens to book now."""
        tokens = sum(self._tokens)
        self._tokens.clear()
        return tokens

    def charged(self, usually: Decimal) -> Decimal:
        """What to book now: what the tool said, or else `usually`."""
        self.cost_usd = sum(self._bill, Decimal(0)) if self._bill else usually
        self._bill.clear()
        return self.cost_usd

    def call(self, run_id: UUID, tenant: str, *, since: float, send_s: float | None) -> Call:
        """What the tool is told of one try; `send_s`: how long after its intent it may leave."""
        return Call(
            run_id=run_id,
            tenant=tenant,
            step=self.step,
            key=f"{run_id}:{self.step}",
            deadline=since + self.ruling.timeout_s + (send_s or 0),
            send_before=float("inf") if send_s is None else since + send_s,
            bill=self._bill,
            tokens=self._tokens,
            redact=self.ruling.logging.redactor,
            tool=self.tool.name,
            egress=self.ruling.egress,
        )
