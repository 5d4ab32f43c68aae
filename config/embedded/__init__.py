"""A real PostgreSQL and a real Redis in a data folder, for when no URL is configured.

Read in this order: this file, server, postgres, redis, home, account.

What a data folder holds; its mode is 0700, unless it held other things before:

    lock             taken by whoever starts or stops
    servers/         mode 0700; all that the servers write: pg, pg.log, redis, redis.log
    servers/sockets  a link to a short private folder of the sockets, whose name is kept

The servers listen on unix sockets alone and outlive the process that started them; `stop` ends
them. The modes of parent folders are never changed. As root, for PostgreSQL refuses to be root,
they run as the folder's owner, or as `nobody` where that is root. Where that account may not
enter the folder, as below a home of root's, `servers` is a link to a private folder in
`/var/lib/sluice-0`: the data is there, and a copy of the folder alone does not hold it.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from config.embedded import home as embedded_home
from config.embedded.account import EmbeddedError
from config.embedded.home import Home
from config.embedded.postgres import PORT, Postgres, postgres_bin
from config.embedded.redis import SOCKET, Redis, redis_binary, redis_off
from config.embedded.server import Answer, Server

__all__ = [
    "EmbeddedError",
    "Servers",
    "postgres_bin",
    "redis_binary",
    "running",
    "start",
    "stop",
]


@dataclass(frozen=True)
class Servers:
    """The addresses of both servers; the same for every process, and after a restart."""

    database_url: str
    broker_url: str | None
    """None where no Redis binary exists, or SLUICE_EMBEDDED_REDIS=off says not to use it."""


def start(folder: Path) -> Servers:
    """Start what does not run yet, and return both addresses once both serve.

    Any number of processes may call it at once, also after a `kill -9` of everything: one
    starts the servers, the others find them.

    Raises:
        EmbeddedError: Nothing that this call started was left running.
    """
    with _in_plain_words(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = folder.resolve()
        with embedded_home.locked(folder):
            home = embedded_home.make(folder)
            sockets = home.sockets() or _new_sockets(home)
            with_redis = redis_binary() is not None
            _start_together([*([Redis(home)] if with_redis else []), Postgres(home)], sockets)
    return _servers(sockets, with_redis=with_redis)


def running(folder: Path) -> Servers | None:
    """The addresses of what serves now, or None without a database; starts and changes nothing."""
    with _in_plain_words(folder):
        home = embedded_home.find(folder.resolve())
        sockets = home and home.sockets()
        if not home or not sockets or Postgres(home).answer(sockets) is not Answer.YES:
            return None
        with_redis = not redis_off() and Redis(home).answer(sockets) is Answer.YES
        return _servers(sockets, with_redis=with_redis)


def stop(folder: Path) -> None:
    """End both servers and return when they are gone; fine when none runs."""
    folder = folder.resolve()
    with _in_plain_words(folder):
        if home := embedded_home.find(folder):
            with embedded_home.locked(folder):
                with ExitStack() as both:
                    both.callback(Postgres(home).stop)
                    both.callback(Redis(home).stop)
                home.drop_sockets()


def _start_together(servers: list[Server], sockets: Path) -> None:
    """Redis comes up while PostgreSQL makes its cluster."""
    with ExitStack() as undo:
        for server in servers:
            if server.launch(sockets):
                undo.callback(server.stop)
        for server in servers:
            server.wait(sockets)
        undo.pop_all()


def _new_sockets(home: Home) -> Path:
    """A folder for the sockets; servers whose sockets were swept away are replaced."""
    for server in (Redis(home), Postgres(home)):
        server.stop()
    return home.make_sockets()


def _servers(sockets: Path, *, with_redis: bool) -> Servers:
    return Servers(
        database_url=f"postgresql+asyncpg://postgres@/postgres?host={sockets}&port={PORT}",
        broker_url=f"redis+socket://{sockets / SOCKET}?virtual_host=0" if with_redis else None,
    )


@contextmanager
def _in_plain_words(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmbeddedError(
            f"The embedded servers cannot use {folder}: {error}. Mend that, set SLUICE_DATA to"
            " another folder, or set SLUICE_DATABASE_URL to a server of your own."
        ) from error
