"""An overrun: a target charged more for a call than was reserved. It is booked, and told."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

import structlog

from models import audit, notice
from models.notice import NoticeKind

log = structlog.get_logger()


class Outcome(Protocol):
    """What is read of an entry."""

    run_id: UUID
    step: str
    tool: str | None
    usd: Decimal
    release_usd: Decimal


async def alarm(connection: Any, outcomes: Iterable[Outcome]) -> None:
    """Tell of those that cost more than they had reserved, in the transaction that books them.

    An overrun is history: refusing it would only hide it. Its window is above the ceiling until
    midnight, and admits nothing more.
    """
    for each in outcomes:
        if each.usd <= each.release_usd:
            continue
        told = {
            "run": str(each.run_id), "step": each.step, "tool": each.tool,
            "reserved_usd": f"{each.release_usd:f}", "charged_usd": f"{each.usd:f}",
        }  # fmt: skip
        line = await audit.append(connection, who="sluice", act=audit.Act.OVERRUN, about=told)
        await notice.tell(
            connection,
            f"overrun:{each.tool}:{line.at:%Y-%m-%dT%H}",
            NoticeKind.OVERRUN,
            f"a call of {each.tool} was charged {each.usd:f} USD where {each.release_usd:f} were"
            f" reserved, run {each.run_id}: raise its cost_usd (sluice spend, sluice audit)",
        )
        log.error("spend.overrun", **told)
