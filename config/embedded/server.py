"""A server that outlives us: how it is started, waited for and ended, whichever it is."""

import fcntl
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path

from config.embedded.account import EmbeddedError
from config.embedded.home import Home

_SILENT_S = 10.0
"""A living server that says nothing for this long is unreachable, and is replaced."""
_START_S = 120.0
_STOP_S = 60.0
_LOOK_S = 0.01
_DETACHED = 'umask 077; log=$1; shift; "$@" >>"$log" 2>&1 &'
"""The shell exits at once, so the server is nobody's child but init's and leaves no zombie."""


class Answer(Enum):
    """What a server says on its socket."""

    YES = "yes"  # it serves
    NOT_YET = "not yet"  # it is there, and still reads its files
    NO = "no"  # nobody listens, or nobody speaks


class Server(ABC):
    """One server of a home.

    The server inherits an open file that is locked. So the kernel itself tells whether any of
    its processes lives: a pid may name a zombie, a stranger, or someone in another container.
    """

    name: str
    title: str
    stop_signal: signal.Signals

    def __init__(self, home: Home) -> None:
        self.home = home
        self.log = home.path / f"{self.name}.log"
        self.data = home.path / self.name

    @abstractmethod
    def answer(self, sockets: Path) -> Answer:
        """Ask it, without a client library."""

    @abstractmethod
    def command(self, sockets: Path) -> Sequence[str | Path]:
        """Prepare its files, knowing that it does not run; return what starts it."""

    @abstractmethod
    def pid(self) -> int | None:
        """The process to signal, as far as its own files tell the truth."""

    def launch(self, sockets: Path) -> bool:
        """Start it unless it serves or is about to; whether it had to be started."""
        if self._comes_up(sockets):
            return False
        self.stop()
        command = self.command(sockets)
        fd = self._liveness()
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            done = self.home.account.run(
                ["/bin/sh", "-c", _DETACHED, "sh", self.log, *command], keep=[fd]
            )
        finally:
            os.close(fd)
        if done.returncode or done.stderr:
            raise self.failure("could not be launched", done.stderr)
        return True

    def wait(self, sockets: Path) -> None:
        """Return once it serves; give up when it has died, or takes two minutes."""
        if not _until(lambda: self.answer(sockets) is Answer.YES or not self._lives(), _START_S):
            raise self.failure(f"does not serve after {_START_S:g} s")
        if self.answer(sockets) is not Answer.YES:
            raise self.failure("ended while it started")

    def stop(self) -> None:
        """End it and wait until its last process is gone; fine when it does not run."""
        told: set[int] = set()

        def is_gone() -> bool:  # a server launched a moment ago has not noted its pid yet
            pid = self.pid()
            if pid and pid not in told:
                told.add(pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, self.stop_signal)
            return pid is None and not self._lives()

        if not _until(is_gone, _STOP_S):
            whom = f"as process {told}" if told else "in another container, perhaps, or orphaned"
            raise self.failure(f"still runs {_STOP_S:g} s after it was told to stop, {whom}")

    def failure(self, what: str, said: str = "") -> EmbeddedError:
        """Say what failed, with the last words of a program or of the server's log."""
        where = "It said"
        if not said and self.log.exists():
            where = f"The end of {self.log}"
            said = self.log.read_text(errors="replace")
        last = "\n".join(said.splitlines()[-8:])
        return EmbeddedError(
            f"The embedded {self.title} of {self.home.path} {what}. Mend what is said below"
            " and start again, or set SLUICE_DATABASE_URL and SLUICE_BROKER_URL to servers of your"
            f" own. {where}:\n{last}"
        )

    def _comes_up(self, sockets: Path) -> bool:
        """Whether it serves, or a living process of it is seen to get there."""
        silent_until = time.monotonic() + _SILENT_S
        while self.answer(sockets) is Answer.NO:
            if time.monotonic() > silent_until or not self._lives():
                return False
            time.sleep(_LOOK_S)
        return True

    def _liveness(self) -> int:
        path = self.home.path / f"{self.name}.alive"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        self.home.account.own(path)
        return fd

    def _lives(self) -> bool:
        fd = self._liveness()
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(fd)


def pid_naming(pid_file: Path, path: Path) -> int | None:
    """The living process in a pid file, if its command line names this path.

    A zombie has no command line, and a pid that is used again names other things. Without
    `/proc`, on macOS, a living process of the owner has to be taken at its word.
    """
    try:
        pid = int(pid_file.read_text().split()[0])
        if pid <= 1:
            return None
        if Path("/proc/self").exists():
            named = os.fsencode(path) in Path(f"/proc/{pid}/cmdline").read_bytes()
            return pid if named else None
        os.kill(pid, 0)
    except (OSError, ValueError, IndexError):
        return None
    return pid


def _until(done: Callable[[], bool], limit_s: float) -> bool:
    end = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(_LOOK_S)
    return True
