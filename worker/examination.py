"""An examination: calls held against the gates as if each had been made, and none of them is.

It asks the code that will judge them when they are made (worker/gateway.py, worker/allowance.py),
on a copy of what the run has used so far: what is counted there is gone with the copy.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from models.ledger import SNAPSHOT
from tools.tool import Tool
from worker.allowance import allow
from worker.approval import question, reasons
from worker.gateway import Gateway
from worker.held import Held
from worker.labels.binding import fixed
from worker.order import Order
from worker.outcome import Question, Stop


class Draft(NamedTuple):
    """A call that a model proposes, and the step that it would be."""

    step: str
    tool: Tool[Any, Any]
    given: Mapping[str, Any]


async def examine(
    gateway: Gateway, held: Held, drafts: Sequence[Draft], declared: Mapping[str, Tool[Any, Any]]
) -> list[Order | Stop]:
    """What the gates would say of each call, if all before it were made and cost the most they may.

    Orders know why a person must allow them (`asks`). What changes by itself is not looked at: the
    gate, a tool's health and pace.
    """
    trial = held.trial()
    found: list[Order | Stop] = []
    number = len(held.names)
    for each in drafts:
        undo = each.tool.undo  # a snapshot has the number before its write
        number += 1 if undo is None or undo.snapshot is None else 2
        try:
            found.append(await _one(gateway, trial, each, number, declared))
        except Stop as stop:
            found.append(stop)
    return found


async def _one(
    gateway: Gateway,
    trial: Held,
    draft: Draft,
    number: int,
    declared: Mapping[str, Tool[Any, Any]],
) -> Order:
    step, tool, given = draft
    order = gateway.draft(trial, tool, given, step, number, proposed=True)
    allow(trial, order, declared)
    trial.reserve(order.worst.usd, order.worst.tokens)
    if not tool.poll:
        trial.repetition.foresee(tool.name, order.digest, writes=tool.writes)
    if order.questionable:  # what is put aside is asked once, as the proposal that it becomes
        order.asks = await reasons(order, trial.tenant)
    _with_snapshot(gateway, trial, order, declared)
    return order


def _with_snapshot(
    gateway: Gateway, trial: Held, order: Order, declared: Mapping[str, Tool[Any, Any]]
) -> None:
    """What is kept of the target before a write is a call like any."""
    snapshot = order.tool.undo.snapshot if order.tool.undo is not None else None
    if snapshot is None or order.aside:
        return
    given = {name: fixed(value) for name, value in snapshot.arguments(order.args).items()}
    step, number = order.step + SNAPSHOT, order.number - 1
    taken = gateway.draft(trial, snapshot.tool, given, step, number, proposed=False)
    allow(trial, taken, declared)
    trial.reserve(taken.worst.usd, taken.worst.tokens)


def questions(orders: Sequence[Order]) -> list[Question]:
    """What a person is asked of them, all at once."""
    return [each for order in orders if order.asks for each in question(order).questions]
