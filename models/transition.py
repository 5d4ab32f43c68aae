"""Transitions: how runs and steps may change. The database refuses every other one, and that pages.

A refused one is a bug of ours: nothing was written, whoever asked for it goes on without, and a
person is told.
"""

import contextlib
from datetime import UTC, datetime

import asyncpg
import sentry_sdk
import structlog

from models.database import hot
from models.ledger import EntryState
from models.notice import NoticeKind, tell
from models.run import RunStatus

log = structlog.get_logger()

REFUSED = "SL001"
"""The SQLSTATE of the triggers in migration 0014."""
OF_RUNS = {
    RunStatus.QUEUED: {RunStatus.RUNNING, RunStatus.FINISHED},
    RunStatus.RUNNING: {RunStatus.QUEUED, RunStatus.WAITING, RunStatus.FINISHED},
    RunStatus.WAITING: {RunStatus.QUEUED, RunStatus.FINISHED},
    RunStatus.FINISHED: set[RunStatus](),
}
_OPEN = {EntryState.RESERVED, EntryState.RELEASED, EntryState.IN_DOUBT}
_CLOSED = {EntryState.SETTLED, EntryState.REJECTED, EntryState.UNDONE}
OF_STEPS = {
    **{state: (_OPEN | _CLOSED) - {state} for state in _OPEN},
    EntryState.SETTLED: {EntryState.UNDONE},
    EntryState.REJECTED: set[EntryState](),
    EntryState.UNDONE: set[EntryState](),
}
"""What has an outcome keeps it; a settled write may be taken back."""


def refused(error: BaseException) -> bool:
    """Whether the database has refused a transition."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate == REFUSED


async def report(error: asyncpg.PostgresError, *, where: str) -> None:
    """Tell of a refused transition: in the log, to Sentry, and to on-call once an hour for each."""
    log.error("transition.refused", where=where, error=error.message, of=error.detail)
    with contextlib.suppress(Exception):  # telemetry never decides over a run
        sentry_sdk.capture_exception(error)
    hour = datetime.now(UTC).strftime("%Y-%m-%dT%H")
    told = f"the database refused a bug of ours in {where}: {error.message} (run {error.detail})"
    async with hot().acquire() as connection:
        await tell(
            connection, f"transition:{where}:{error.message}:{hour}", NoticeKind.TRANSITION, told
        )
