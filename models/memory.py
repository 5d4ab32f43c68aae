"""Memory: what a run keeps for later runs of its tenant, for as long as it says.

Two walls stand between tenants. Every query names the tenant, and the database's own row-level
security shows a transaction the rows of one tenant alone, whatever its queries say (`within`).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from sqlalchemy import CheckConstraint, Index, Text
from sqlmodel import Field, SQLModel

from models import audit
from models.columns import document, when
from models.database import hot

log = structlog.get_logger()

ROLE = "sluice_memory"
NAME_BYTES = 200
"""Of a scope's name, and of a key."""
VALUE_BYTES = 65_536
BATCH = 500


class Memory(SQLModel, table=True):
    """Gone at `expires_at` by the database's clock, whether or not it was purged already."""

    tenant: str = Field(primary_key=True, sa_type=Text)
    scope: str = Field(primary_key=True, sa_type=Text)
    """`tenant`, `user:NAME` or `session:NAME`."""
    key: str = Field(primary_key=True, sa_type=Text)
    value: Any = document(nullable=False)
    labels: Any = document(nullable=False)
    """By JSON pointer; what no pointer covers counts as text from outside."""
    run_id: UUID
    step: str = Field(sa_type=Text)
    pipeline: str = Field(sa_type=Text)
    writes: int = 1
    """How often it was written since it was last gone."""
    written_at: datetime | None = when(nullable=False, default="now()")
    expires_at: datetime | None = when(nullable=False)

    __table_args__ = (
        CheckConstraint("tenant <> ''", name="memory_is_somebodys"),
        Index("memory_expires", "expires_at"),
    )


class Scope(NamedTuple):
    """Whose memory it is, within the tenant. Compared as a whole: nothing in it is a wildcard."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


TENANT = Scope("tenant")
"""What all runs of the tenant share."""


def user(name: str) -> Scope:
    return Scope("user", name)


def session(name: str) -> Scope:
    return Scope("session", name)


def check(scope: Scope, key: str) -> None:
    """Refuse what cannot name a memory.

    Raises:
        ValueError: Which of both, and why.
    """
    named = scope.kind in {"user", "session"}
    if scope != TENANT and not (named and scope.name):
        raise ValueError(
            f"{str(scope)[:80]!r} is no scope of memory: tenant, user:NAME or session:NAME"
        )
    for what, name in (("scope", scope.name), ("key", key)):
        _check_name(what, name, empty=what == "scope" and not named)


def _check_name(what: str, name: str, *, empty: bool) -> None:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = NAME_BYTES + 1
    if size > NAME_BYTES or "\x00" in name or not (name or empty):
        raise ValueError(
            f"a memory's {what} is named in 1 to {NAME_BYTES} bytes of UTF-8 without NUL,"
            f" not {name[:80]!r}"
        )


_USABLE = f"""
    SELECT rolname FROM pg_roles
     WHERE rolname = '{ROLE}' AND NOT rolsuper AND NOT rolbypassrls
       AND pg_has_role(current_user, oid, CASE
               WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER'
               ELSE 'SET' END)
       AND has_table_privilege(oid, 'memory', 'SELECT')
       AND has_table_privilege(oid, 'memory', 'INSERT')
       AND has_table_privilege(oid, 'memory', 'UPDATE')
       AND has_table_privilege(oid, 'memory', 'DELETE')
"""  # noqa: S608  # a constant
_ENTER = f"""
    SELECT current_setting('role'),
           set_config('sluice.tenant', $1, true), set_config('sluice.memory', $2, true),
           set_config('role', coalesce(({_USABLE}), current_setting('role')), true)
"""
"""All of it ends with the transaction. A superuser becomes a role that row-level security binds."""
_LEAVE = """
    SELECT set_config('role', $1, true), set_config('sluice.tenant', '', true),
           set_config('sluice.memory', '', true)
"""


@asynccontextmanager
async def within(connection: Any, tenant: str) -> AsyncIterator[None]:
    """From here on the transaction that `connection` is in sees one tenant's memory alone."""
    was = await connection.fetchval(_ENTER, tenant, "")
    yield
    await connection.execute(_LEAVE, was)


@asynccontextmanager
async def _among_the_expired(connection: Any) -> AsyncIterator[None]:
    """For the purger: what has expired, whoever's it was; nothing else, and nothing is written."""
    was = await connection.fetchval(_ENTER, "", "purge")
    yield
    await connection.execute(_LEAVE, was)


class Wall(StrEnum):
    """How the second wall stands for this login."""

    ROLE = "the role that it takes on"
    OWN = "its own login"
    NONE = "nothing"


_WALL = f"""
    SELECT c.relrowsecurity AND c.relforcerowsecurity AS ruled,
           EXISTS ({_USABLE}) AS role, row_security_active('memory') AS own
      FROM pg_class c WHERE c.oid = 'memory'::regclass
"""  # noqa: S608  # composed of constants


async def wall() -> Wall:
    """What binds this process's transactions to one tenant's rows."""
    row = await hot().fetchrow(_WALL)
    if not row["ruled"]:
        return Wall.NONE
    return Wall.ROLE if row["role"] else Wall.OWN if row["own"] else Wall.NONE


_EXPIRE = """
    DELETE FROM memory WHERE expires_at <= now() AND (tenant, scope, key) IN (
        SELECT tenant, scope, key FROM memory WHERE expires_at <= now()
         ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)
"""
_LIST = """
    SELECT scope, key, value, labels, run_id, step, pipeline, writes, written_at, expires_at,
           expires_at <= now() AS expired
      FROM memory WHERE tenant = $1 AND ($2::text IS NULL OR scope = $2)
     ORDER BY scope, key LIMIT $3
"""
_PURGE = """
    DELETE FROM memory
     WHERE tenant = $1 AND ($2::text IS NULL OR scope = $2) AND ($3::text IS NULL OR key = $3)
"""


async def expire() -> int:
    """Remove one batch of what has expired, whoever's it is; return how many that were."""
    async with (
        hot().acquire() as connection,
        connection.transaction(),
        _among_the_expired(connection),
    ):
        done: str = await connection.execute(_EXPIRE, BATCH)
    return int(done.rsplit(maxsplit=1)[-1])


async def kept(tenant: str, scope: Scope | None, *, limit: int) -> list[Any]:
    """What is there of a tenant, or of one scope of it."""
    which = None if scope is None else str(scope)
    async with hot().acquire() as connection, connection.transaction(), within(connection, tenant):
        found: list[Any] = await connection.fetch(_LIST, tenant, which, limit)
    return found


async def purge(tenant: str, scope: Scope | None, key: str | None, *, who: str) -> int:
    """Remove a tenant's memory, of one scope or key of it or all, with a line of the audit."""
    which = None if scope is None else str(scope)
    async with hot().acquire() as connection, connection.transaction():
        async with within(connection, tenant):
            done: str = await connection.execute(_PURGE, tenant, which, key)
        count = int(done.rsplit(maxsplit=1)[-1])
        about = {"done": "purged", "tenant": tenant, "scope": which, "key": key, "count": count}
        await audit.append(connection, who=who, act=audit.Act.MEMORY, about=about)
    log.warning("memory.purged", who=who, tenant=tenant, scope=which, count=count)
    return count
