"""Tellers: one process of 32 gateways, each with a connection of its own and a batch of its own.

python -m tests.chaos.tellers DATABASE_URL POLICY   forks one for each line of standard input
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import structlog

from config.rulebook import Rulebook
from models.database import open_database
from tests.chaos.nursery import ROOT
from tests.spenders import PIPELINES
from worker.claim import Claims
from worker.gatekeeper import Gatekeeper
from worker.gateway import Gateway
from worker.journal import Journal
from worker.runner import Runner

CONNECTIONS = 32
LEASE_S = 1.5
"""A run is given up sooner than it can be renewed: it ends within a part of a second."""


class Tellers:
    """The other end of the process below."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def fork(self) -> int:
        """Start 32 tellers in a process; return its pid."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def tellers(url: str, policy: Path, log: Path) -> Iterator[Tellers]:
    """A process that has imported everything and forks tellers; it takes them along."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.tellers", url, str(policy)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out, text=True, cwd=ROOT,
        )  # fmt: skip
    try:
        yield Tellers(process)
    finally:
        process.communicate(timeout=30)


async def _teller(rulebook: Rulebook, gatekeeper: Gatekeeper) -> None:
    """Its own batches: what it intends meets the others' at the windows, not in a queue."""
    journal = Journal(patience=timedelta(seconds=5))
    gateway = Gateway(journal, gatekeeper, rulebook, send_before_s=1)
    runner = Runner(PIPELINES, journal, gateway, bug_limit=3)
    claims = Claims(uuid4(), list(PIPELINES), LEASE_S)
    while True:
        for held in await claims.take(1, held={}) or await claims.take_suspect():
            await runner.run(held)
        await asyncio.sleep(0.02)


async def _work(url: str, policy: Path) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    await open_database(url, connections=CONNECTIONS)
    rulebook = Rulebook(policy)
    gatekeeper = Gatekeeper(rulebook, patience_s=5)
    await gatekeeper.look()
    teller = (_teller(rulebook, gatekeeper) for _ in range(CONNECTIONS))
    await asyncio.gather(gatekeeper.run(), *teller)


def main(url: str, policy: str) -> None:
    """Fork for each line; end all at the last."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the dead at once
    children = []
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            with suppress(KeyboardInterrupt):
                asyncio.run(_work(url, Path(policy)))
            os._exit(0)
        children.append(pid)
        print(pid, flush=True)  # noqa: T201  # the answer
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:3])
