"""A nursery: one process that has imported everything, and forks real workers from it."""

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from config import command

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Nursery:
    """The other end of the process below."""

    _process: "subprocess.Popen[str]"

    def fork(self, surroundings: Mapping[str, str], log: Path) -> int:
        """Start `sluice worker` with these variables; return its pid, which leads a group."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"surroundings": dict(surroundings), "log": str(log)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def lives(pid: int) -> bool:
    """Whether a forked worker still is; the nursery leaves no zombies."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def nursery(*modules: str) -> Iterator[Nursery]:
    """A nursery that has imported these modules; it takes its workers along when it goes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.nursery", "worker.cli", *modules],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        yield Nursery(process)
    finally:
        process.communicate(timeout=30)


def main() -> None:
    """Fork a worker for each line of standard input, and print its pid."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the dead at once
    for module in sys.argv[1:]:
        importlib.import_module(module)
    tether, knot = os.pipe()
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.close(knot)
            _be_a_worker(order["surroundings"], order["log"], tether)
        print(pid, flush=True)  # noqa: T201  # the answer


def _be_a_worker(surroundings: Mapping[str, str], log: str, tether: int) -> None:
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for old, new in ((tether, 0), (out, 1), (out, 2)):
            os.dup2(old, new)
        os.environ.update(surroundings)
        sys.argv = ["sluice", "worker", "--tethered"]
        command.main()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
