"""The one door to PostgreSQL: transactions for everything, a raw pool for the batched verbs."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

OLDEST, NEWEST = 15, 18
"""Major versions of PostgreSQL that the suite runs on."""

TRANSIENT = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,  # a connection that closed under us
    asyncpg.InternalClientError,  # asyncpg, confused by one that closed in a handshake
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, too many connections
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,  # a primary that has become a standby
)
"""Errors after which the same statement may succeed; what had been sent may have been committed."""

SESSION = {
    "application_name": "sluice",
    "timezone": "UTC",
    "jit": "off",  # our statements are short; planning them twice is not
    "idle_in_transaction_session_timeout": "5000",
    "lock_timeout": "10000",
    # Under REPEATABLE READ the gate's check reads a stale snapshot, and writes leak past it.
    "default_transaction_isolation": "read committed",
}

HOT_SESSION = {"enable_seqscan": "off"}
"""A batched statement planned while its table was empty keeps its plan while the table fills."""


class DatabaseUnfit(RuntimeError):
    """This database would break a promise silently; the sentence says how."""


@dataclass(frozen=True)
class Database:
    engine: AsyncEngine
    pool: "asyncpg.Pool[asyncpg.Record]"
    url: str


_open: list[Database] = []


async def open_database(
    url: str, *, connections: int = 6, watch: Callable[[Any], Awaitable[None]] | None = None
) -> None:
    """Connect this process, on the running loop, to `url` (`postgresql+asyncpg://...`).

    `watch` is shown every connection of the pool of batched verbs, before its first use.

    Raises:
        DatabaseUnfit: Its version or its isolation level is not one the promises were proven on.
        OSError, asyncpg.PostgresError: It does not answer.
    """
    raw = dsn(url)

    async def prepare(connection: Any) -> None:
        await _prepare(connection)
        if watch is not None:
            await watch(connection)

    pool = await asyncpg.create_pool(
        raw,
        min_size=1,
        max_size=connections,
        init=prepare,
        reset=_keep,
        server_settings=SESSION | HOT_SESSION,
        command_timeout=30,
        max_inactive_connection_lifetime=0,
    )
    try:
        async with pool.acquire() as connection:
            await _assert_fit(connection)
    except BaseException:
        pool.terminate()
        raise
    engine = create_async_engine(
        url,
        pool_size=4,
        pool_pre_ping=True,
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
        connect_args={"server_settings": SESSION},
    )
    _open.append(Database(engine, pool, url))


async def close_database() -> None:
    """Give back what `open_database` opened last; safe when it opened nothing."""
    if _open:
        database = _open.pop()
        await database.engine.dispose()
        await database.pool.close()


def dsn(url: str) -> str:
    """The URL as asyncpg takes it, without SQLAlchemy's driver name."""
    return re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url)


def hot() -> "asyncpg.Pool[asyncpg.Record]":
    """The pool of the batched verbs; `json` travels as the bytes it was written in."""
    return _open[-1].pool


def is_open() -> bool:
    """Whether this process has opened a database."""
    return bool(_open)


async def dedicated() -> "asyncpg.Connection[asyncpg.Record]":
    """A connection outside the pool, for heartbeats and for listening. The caller closes it."""
    connection = await asyncpg.connect(
        dsn(_open[-1].url), server_settings=SESSION, command_timeout=10
    )
    await _prepare(connection)
    return connection


@asynccontextmanager
async def transaction() -> AsyncIterator[AsyncSession]:
    """One `async with` is one transaction: all of it is kept, or none of it.

    Nothing else in the code base commits. Never await a tool inside: a
    transaction held open across the network holds its row locks as long.
    """
    async with AsyncSession(_open[-1].engine, expire_on_commit=False) as session, session.begin():
        yield session


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec(
        "json", schema="pg_catalog", format="binary", encoder=bytes, decoder=bytes
    )


async def _keep(_connection: Any) -> None:
    """Nothing is reset on release: our statements leave no state, and a reset is a round trip."""


async def _assert_fit(connection: Any) -> None:
    major = connection.get_server_version().major
    if not major >= OLDEST:
        raise DatabaseUnfit(f"PostgreSQL {major} is too old: Sluice needs {OLDEST} to {NEWEST}")
    level = await connection.fetchval("SHOW transaction_isolation")
    if level != "read committed":
        raise DatabaseUnfit(
            f"default_transaction_isolation is {level!r}; the promises are only proven under"
            " 'read committed': set it so for this database or this user"
        )
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        raise DatabaseUnfit("this PostgreSQL is a read-only replica; connect to the primary")
