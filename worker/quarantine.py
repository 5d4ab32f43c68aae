"""The quarantine: runs whose workers have died twice are claimed alone, by a process of their own.

A poison run takes everything with it that shares its process. From the second crash on it shares
nothing any more: whatever it does to its process, no neighbour is harmed, and none is held back.
"""

import asyncio
import os
import sys
import time

import structlog

from models.database import TRANSIENT, hot
from worker.claim import SUSPECT_AT

log = structlog.get_logger()

_LOOK_S = 0.5
_LEAVE_S = 10.0
_MOST = 4
"""Processes that one worker starts for its suspects at a time."""
_RESTART_S = 10.0
"""After one that could not start, or failed: no new one sooner."""
_EACH = 16
"""So many suspects due are worth one more of them."""

_DUE = f"""
    SELECT count(*) FROM (
        SELECT FROM run WHERE status = 'queued' AND crashes >= {SUSPECT_AT} AND dispatch_at <= now()
                          AND (pipeline, version) IN (SELECT * FROM unnest($1::text[], $2::int[]))
         LIMIT {_MOST * _EACH}) AS due
"""  # noqa: S608  # composed of constants


class Quarantine:
    """Starts `sluice worker --alone` while there are suspects; one per worker process."""

    def __init__(self, served: list[tuple[str, int]]) -> None:
        self._names = [name for name, _ in served]
        self._versions = [version for _, version in served]
        self._children: list[asyncio.subprocess.Process] = []
        self._not_before = 0.0

    async def run(self) -> None:
        """Look for suspects until cancelled; the children are told to go with us."""
        try:
            while True:
                await asyncio.sleep(_LOOK_S)
                try:
                    await self._look()
                except TRANSIENT as error:
                    log.warning("quarantine.not_started", error=repr(error))
        finally:
            await asyncio.gather(*(_end(each) for each in self._children))

    async def _look(self) -> None:
        for each in [each for each in self._children if each.returncode is not None]:
            log.warning("quarantine.over", exit_code=each.returncode)
            self._children.remove(each)
            if each.returncode is not None and each.returncode > 0:
                self._not_before = time.monotonic() + _RESTART_S
        if time.monotonic() < self._not_before:
            return
        due = await hot().fetchval(_DUE, self._names, self._versions)
        if len(self._children) < min(_MOST, -(-due // _EACH)):
            self._children.append(await _start())


async def _start() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "config.command", "worker", "--alone", "--tethered",
        stdin=asyncio.subprocess.PIPE, env=dict(os.environ),
    )  # fmt: skip


async def _end(child: asyncio.subprocess.Process) -> None:
    """It drains like any worker: its run is snoozed, and no crash is counted."""
    if child.returncode is not None:
        return
    if child.stdin is not None:
        child.stdin.close()
    try:
        async with asyncio.timeout(_LEAVE_S):
            await child.wait()
    except TimeoutError:
        child.kill()
