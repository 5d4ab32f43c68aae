"""Child processes: the workers that `up` and `triage` start, and end with themselves."""

import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_RESTARTS = 3
"""A worker that dies is replaced so often; more would hide what kills it."""


class Children:
    """Workers as processes of their own; leaving the context asks them to drain, then waits.

    Each has a pipe from us as its standard input. When we are gone, however we went, the kernel
    closes it, and they drain by themselves.
    """

    def __init__(self, count: int, *, drain_s: float, log: Path | None = None) -> None:
        self._count = count
        self._drain_s = drain_s
        self._log = log
        self._restarts = _RESTARTS * count
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._processes = [self._start() for _ in range(self._count)]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        until = time.monotonic() + self._drain_s
        for process in self._processes:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin:
                process.stdin.close()

    def _start(self) -> "subprocess.Popen[bytes]":
        with ExitStack() as stack:
            log: dict[str, Any] = {}
            if self._log is not None:
                file = stack.enter_context(self._log.open("ab"))
                log = {"stdout": file, "stderr": file}
            # A group of their own: Ctrl-C reaches us alone, and we ask them to drain.
            return subprocess.Popen(
                [sys.executable, "-m", "config.command", "worker", "--tethered"],
                process_group=0,
                stdin=subprocess.PIPE,
                **log,
            )

    def mend(self) -> int:
        """Replace those that died, as long as that may help; return how many were replaced."""
        replaced = 0
        for place, process in enumerate(self._processes):
            if process.poll() is not None and self._restarts > 0:
                self._restarts -= 1
                replaced += 1
                self._processes[place] = self._start()
        return replaced

    @property
    def alive(self) -> bool:
        return any(each.poll() is None for each in self._processes)

    def died(self) -> list[int]:
        """Exit codes of those that ended by themselves."""
        return [code for each in self._processes if (code := each.poll()) is not None]

    @property
    def pids(self) -> list[int]:
        return [each.pid for each in self._processes]
