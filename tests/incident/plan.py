"""What is asked for, and what befalls the desk meanwhile: the same for every side of a round."""

import asyncio
from dataclasses import dataclass

from tests.desk import Desk
from tests.desk_pipelines import Order

PATIENCE_S = 4.0
"""A client that has no answer after so long asks again."""
ASKS_AT_MOST = 3


@dataclass(frozen=True)
class Plan:
    """One storm, by its seed."""

    tickets: int
    seed: int
    asking_s: float
    """Over how long the clients arrive. Halfway the schema changes; half as long again after the
    last of them the desk is well, but for its new schema."""

    patience_s: float
    """What still moves so long after the clients have gone is not waited for."""

    def orders(self) -> list[Order]:
        return [Order(ref=f"order:{n}", title=f"Ticket {n}") for n in range(self.tickets)]

    def arrival_s(self, number: int) -> float:
        return self.asking_s * number / self.tickets


@dataclass(frozen=True)
class Round:
    """One kind of desk, and who files tickets at it."""

    name: str
    title: str
    dedupe: bool
    lookup_drifts: bool
    sides: tuple[str, ...]


ROUNDS = (
    Round(
        "plain",
        "A desk that does not dedupe; halfway its answers change",
        dedupe=False,
        lookup_drifts=False,
        sides=("celery", "sluice-once"),
    ),
    Round(
        "dedupes",
        "A desk that dedupes by key; halfway its answers change",
        dedupe=True,
        lookup_drifts=False,
        sides=("celery", "celery-ref", "sluice"),
    ),
    Round(
        "drifts",
        "A desk that does not dedupe; halfway its answers change, those to look-ups too",
        dedupe=False,
        lookup_drifts=True,
        sides=("sluice-once",),
    ),
)

ILL = {
    "create_then_502": 0.45,
    "create_then_reset": 0.05,
    "refuse_429": 0.05,
    "reset_before": 0.02,
    "half_answer": 0.02,
    "hang": 0.01,
}
_WELL = dict.fromkeys(ILL, 0)


async def befall(desk: Desk, plan: Plan, kind: Round) -> None:
    """Let the desk be ill, change its schema, and be well again."""
    desk.set(seed=plan.seed, dedupe=kind.dedupe, **ILL)
    await asyncio.sleep(plan.asking_s / 2)
    desk.set(schema=2, lookup_schema=2 if kind.lookup_drifts else 1)
    await asyncio.sleep(plan.asking_s)
    desk.set(**_WELL)
