"""A purse: what one call has reserved of its run's money and tokens, until it is booked."""

from decimal import Decimal

from worker.checkpoint import NOTHING
from worker.held import Held
from worker.order import Order


class Purse:
    """Of one trip."""

    def __init__(self, held: Held, order: Order, *, unanswered: bool) -> None:
        """`unanswered`: the reservation stands of an earlier try that nobody heard of again."""
        self._held, self._order = held, order
        self._each_anew = order.tool.worst is not None
        self._tokens = 0
        record = order.record
        self.reserved = record.reserved_usd if record and unanswered else NOTHING
        """In the ledger: an outcome gives it back, and books what was spent."""
        if self._each_anew and unanswered:
            order.lost(self.reserved)

    def open(self) -> Decimal:
        """Reserve for the next try; return how much its intent adds to what stands already.

        Raises:
            Stop: It does not fit what is left of the run's budget.
        """
        worst = self._order.worst
        usd = worst.usd if self._each_anew or self.reserved == NOTHING else NOTHING
        self._held.reserve(usd, worst.tokens)
        self._tokens += worst.tokens
        return usd

    def shut(self, usd: Decimal) -> None:
        """Give back what was reserved last: no intent was written."""
        self._held.reserve(-usd, -self._order.worst.tokens)
        self._tokens -= self._order.worst.tokens

    def settle(self, usd: Decimal, tokens: int) -> None:
        """Count what is booked in place of what was reserved."""
        self._held.usage.usd += usd - self.reserved
        self._held.usage.tokens += tokens - self._tokens
        self.reserved, self._tokens = NOTHING, 0
