"""The variants of the race: the code as it is, and the code with one guard taken out."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from models import database, gate
from models.database import hot
from models.standstill import Standstill, standstill, stopped
from worker import intent, journal
from worker.outcome import GateShut

Watch = Callable[[Any], Awaitable[None]]
Stopped = Callable[[str, float], Awaitable[Standstill]]
_LINGER_S, _LONGER_S = 0.05, 0.08


@dataclass(frozen=True)
class Variant:
    """One way to race. Guards are taken out in the processes of the race, and nowhere else."""

    about: str
    holds: bool = True
    """Whether the promise does."""
    breaks: Callable[[], None] = lambda: None
    """What a writer's process does first."""
    watch: Watch | None = None
    """Done with every connection of a writer."""
    flipper: Callable[[], AbstractContextManager[Any]] = nullcontext
    """What surrounds the flips."""
    stopped: Stopped = stopped
    linger_s: float = 0.0
    """The tool sleeps for so long between the intent and its request."""
    dwell_s: float = 0.005
    """For how long after STOPPED nothing may happen."""
    freezes: bool = False
    """Writers are stopped and continued, one at a time, for longer than a write may wait."""
    refuses: bool = False
    """The target turns every third key away once: the write is tried again in place."""
    operators: int = 1
    """How many flip at the same time."""


def _without_the_gate(statement: str) -> str:
    """The intent's statement as it would be if it did not read the gate."""
    before, _, rest = statement.partition("shut AS MATERIALIZED")
    _, _, entry = rest.partition("entry AS (")
    admits, _, check = entry.partition("WHERE EXISTS (SELECT FROM gate")
    _, order, after = check.partition("ORDER BY run_id, step")
    assert order, "worker/intent.py reads the gate in other words now"
    return f"{before} entry AS ({admits} {order}{after}"


def _checks_then_inserts() -> None:
    """What everybody writes first: look at the switch, then insert."""
    intend = intent.intend

    async def check_then_insert(entries: Sequence[Any]) -> Sequence[BaseException | None]:
        if await hot().fetchval("SELECT EXISTS (SELECT FROM gate WHERE mode <> 'open')"):
            return [GateShut() for _ in entries]
        return await intend(entries)

    intent._INTEND = _without_the_gate(intent._INTEND)
    journal.intend = check_then_insert


async def _snapshots_last(connection: Any) -> None:
    await connection.execute("SET default_transaction_isolation = 'repeatable read'")


def _is_not_asserted() -> None:
    """`open_database` refuses such a session; here it must not look."""

    async def unasked(_: Any) -> None:
        return

    database._assert_fit = unasked


def _no_lock() -> AbstractContextManager[Any]:
    return patch.object(gate, "_SHUT", "SET LOCAL lock_timeout = {ms}")


async def _at_once(scope: str, _since: float) -> Standstill:
    return await standstill(scope)


VARIANTS = {
    "safe": Variant("the code as it is"),
    "lingering": Variant(
        "as it is; 50 ms between intent and request", linger_s=_LINGER_S, dwell_s=_LONGER_S
    ),
    "frozen": Variant("as it is; one writer is stopped for 3 s, again and again", freezes=True),
    "retried": Variant("as it is; the target turns every third write away once", refuses=True),
    "two_operators": Variant("as it is; two flip at the same time", operators=2),
    "check_then_insert": Variant(
        "the gate is read in a statement of its own, before the intent's",
        holds=False,
        breaks=_checks_then_inserts,
    ),
    "no_lock": Variant("the flip does not lock its table", holds=False, flipper=_no_lock),
    "repeatable_read": Variant(
        "the writers' sessions are REPEATABLE READ",
        holds=False,
        breaks=_is_not_asserted,
        watch=_snapshots_last,
    ),
    "no_wait": Variant(
        "STOPPED is answered at once; 50 ms between intent and request",
        holds=False,
        stopped=_at_once,
        linger_s=_LINGER_S,
        dwell_s=_LONGER_S,
    ),
}
