"""Who works on a triage: our own workers, and others that share the queue."""

import asyncio
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from models.database import hot
from producer.children import Children
from producer.tables import plain
from producer.triage import Course
from producer.triage_campaign import PIPELINE, VERSION
from producer.triage_progress import Display

_START_S = 60.0
_CHECK_S = 2.0
_LOOK_S = 0.1
_DESK_VARIABLE = "SLUICE_DESK__URL"

_LIVING = """
    SELECT host, pid FROM worker
     WHERE last_seen > now() - interval '15 s'
       AND EXISTS (SELECT FROM json_array_elements(runs) AS r
                    WHERE r->>0 = $1 AND (r->>1)::int >= $2)
"""

_HELD_UP = """
    SELECT waiting_for, max(detail) AS detail, count(*) AS runs
      FROM run WHERE id = ANY($1::uuid[]) AND status = 'queued' AND waiting_for IS NOT NULL
     GROUP BY 1 ORDER BY 3 DESC LIMIT 1
"""
_HELD_UP_LOOKED_AT = 500


class NobodyWorks(Exception):
    """There is no worker that would carry the runs; the sentence says what to do."""


class Worker(NamedTuple):
    host: str
    pid: int


class Workforce:
    """Waits for workers, replaces our own that die, and notices when nobody is left."""

    def __init__(self, children: Children, display: Display, course: Course, log: Path) -> None:
        self._children = children
        self._display = display
        self._course = course
        self._log = log
        self._checked = time.monotonic()

    async def gather(self) -> None:
        """Wait until somebody runs our pipeline.

        Raises:
            NobodyWorks: Within a minute there was none.
        """
        until = time.monotonic() + _START_S
        while not await living():
            self._mend()
            if time.monotonic() > until or not (self._children.pids or await living()):
                raise NobodyWorks(self._told())
            await asyncio.sleep(_LOOK_S)

    async def check(self) -> None:
        """See to it that somebody works, and tell what holds the runs up; cheap to call often.

        Raises:
            NobodyWorks: All are gone, and replacing them did not help.
        """
        if time.monotonic() - self._checked < _CHECK_S:
            return
        self._checked = time.monotonic()
        self._mend()
        if not self._children.alive and not await living():
            raise NobodyWorks(self._told())
        row = await hot().fetchrow(_HELD_UP, self._course.open[:_HELD_UP_LOOKED_AT])
        self._display.note = (
            f"{row['runs']:,} wait: {row['detail'] or row['waiting_for']}" if row else ""
        )

    def _mend(self) -> None:
        if replaced := self._children.mend():
            self._display.say(
                f"workers that died and were replaced: {replaced}; what they said is in {self._log}"
            )

    def _told(self) -> str:
        if self._children.pids:
            return f"the workers died again and again; {self._last_words()} (all in {self._log})"
        return (
            f"no worker runs {PIPELINE} version {VERSION} or newer: start some with `sluice up`,"
            " or leave out --workers 0"
        )

    def _last_words(self) -> str:
        with suppress(OSError):
            lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            if lines:
                return f"the last one said: {plain(lines[-1])[:300]}"
        return "they said nothing"


async def living() -> list[Worker]:
    """Workers that were seen lately and, where we can tell, have not died since."""
    rows = await hot().fetch(_LIVING, PIPELINE, VERSION)
    found = [Worker(row["host"], row["pid"]) for row in rows]
    return [each for each in found if each.host != socket.gethostname() or _exists(each.pid)]


async def writing_elsewhere(desk: str | None) -> str | None:
    """A sentence about a worker on this host that would open our tickets at another desk."""
    for each in await living():
        variables = _environment(each) if each.host == socket.gethostname() else None
        if variables is None:
            continue
        theirs = variables.get(_DESK_VARIABLE) or None
        if (theirs or "").rstrip("/") != (desk or "").rstrip("/"):
            here, there = desk or "the local desk", theirs or "the local desk"
            return (
                f"process {each.pid} takes runs from the same queue and opens tickets at {there},"
                f" not at {here}: stop it, or start it with {_DESK_VARIABLE} set alike"
            )
    return None


def _environment(worker: Worker) -> dict[str, str] | None:
    """What a worker was started with; None where the system does not show it."""
    with suppress(OSError):
        raw = Path(f"/proc/{worker.pid}/environ").read_bytes().decode(errors="replace")
        return dict(each.split("=", 1) for each in raw.split("\0") if "=" in each)
    return None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
