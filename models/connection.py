"""A connection: where a tenant's target is, who we are there, and where the secret is to be found.

The secret itself is never here: only a reference, which the worker that needs it reads.
"""

import re
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import structlog
from sqlalchemy import CheckConstraint, Text
from sqlmodel import Field, SQLModel

from config.address import Where, address_of, place_of
from models import audit
from models.columns import when
from models.database import hot
from models.scope import known

log = structlog.get_logger()

EVERYBODY = "*"
"""The tenant whose connections hold for all who have none of their own; no real one is named so."""
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]{0,127}|file:/[^\x00-\x1f\x7f]{1,500}")


class Connection(SQLModel, table=True):
    """One row for each tenant and name; the tenant `*` is everybody who has none."""

    __table_args__ = (
        CheckConstraint("secret = '' OR secret ~ '^(env:|file:/)'", name="connection_refers"),
    )

    tenant: str = Field(primary_key=True, sa_type=Text)
    name: str = Field(primary_key=True, sa_type=Text)
    base_url: str = Field(sa_type=Text)
    login: str = Field(default="", sa_type=Text)
    """Who we are there; empty with a secret: that is a bearer's token."""
    secret: str = Field(default="", sa_type=Text)
    """`env:NAME` or `file:/path` of the worker that needs it; empty: there is none."""
    private: bool = False
    """Whether the target may be on this host or in a private network."""
    who: str = Field(sa_type=Text)
    changed_at: datetime | None = when(nullable=False, default="now()")


class Target(NamedTuple):
    """What an operator says of a connection, without the secret."""

    tenant: str
    name: str
    base_url: str
    login: str = ""
    secret: str = ""
    private: bool = False


_SET = """
    INSERT INTO connection (tenant, name, base_url, login, secret, private, who)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (tenant, name) DO UPDATE
       SET base_url = EXCLUDED.base_url, login = EXCLUDED.login, secret = EXCLUDED.secret,
           private = EXCLUDED.private, who = EXCLUDED.who, changed_at = now()
"""
_REMOVE = "DELETE FROM connection WHERE (tenant, name) = ($1, $2) RETURNING tenant"
_FIND = f"""
    SELECT tenant, name, base_url, login, secret, private FROM connection
     WHERE name = $2 AND tenant IN ($1, '{EVERYBODY}')
     ORDER BY tenant = '{EVERYBODY}' LIMIT 1
"""  # noqa: S608  # a constant
"""The tenant's own before everybody's."""


async def put(target: Target, *, who: str) -> None:
    """Make a connection, or change it. Workers hear of it within a few seconds.

    Raises:
        ValueError: What was said cannot be used; the sentence never repeats a would-be secret.
    """
    _check(target)
    if target.tenant != EVERYBODY:
        await known(f"tenant:{target.tenant}")
    about = {"done": "set", **target._asdict()}
    async with hot().acquire() as connection, connection.transaction():
        await connection.execute(_SET, *target, who)
        await audit.append(connection, who=who, act=audit.Act.CONNECTION, about=about)
    log.warning("connection.set", who=who, tenant=target.tenant, name=target.name)


async def remove(tenant: str, name: str, *, who: str) -> None:
    """Take a connection away; what it stood for is then everybody's, or what settings say.

    Raises:
        ValueError: There is none.
    """
    about = {"done": "removed", "tenant": tenant, "name": name}
    async with hot().acquire() as connection, connection.transaction():
        if not await connection.fetchval(_REMOVE, tenant, name):
            raise ValueError(f"{tenant!r} has no connection named {name!r}: `sluice connections`")
        await audit.append(connection, who=who, act=audit.Act.CONNECTION, about=about)
    log.warning("connection.removed", who=who, tenant=tenant, name=name)


async def find(tenant: str, name: str) -> Target | None:
    """The connection of this name that holds for a tenant: its own, else everybody's.

    Raises:
        OSError, asyncpg.PostgresError, asyncpg.InterfaceError: The database did not say.
    """
    row = await hot().fetchrow(_FIND, tenant, name)
    return Target(*row) if row else None


async def connections() -> list[Any]:
    """Every connection, everybody's first."""
    found: list[Any] = await hot().fetch(
        "SELECT tenant, name, base_url, login, secret, private, who, changed_at FROM connection"
        " ORDER BY tenant, name"
    )
    return found


def _check(target: Target) -> None:
    if not _NAME.fullmatch(target.name):
        raise ValueError(
            f"{target.name[:80]!r} cannot name a connection: use a-z, 0-9, '_', '.', '-', beginning"
            " with a letter"
        )
    if target.secret and not _REFERENCE.fullmatch(target.secret):
        raise ValueError(
            "the secret must be a reference, env:NAME or file:/absolute/path, and not the secret"
            " itself; what was given is not repeated here"
        )
    if target.login and (not target.login.isprintable() or ":" in target.login):
        raise ValueError("the user must be printable, and without a colon")
    if target.login and not target.secret:
        raise ValueError("a user needs a secret: env:NAME or file:/absolute/path")
    _check_url(target)


def _check_url(target: Target) -> None:
    wrong = "the URL must be http(s)://HOST[:PORT][/PATH], without login, query or fragment"
    try:
        url = urlsplit(target.base_url)
        host, _ = url.hostname, url.port
    except ValueError:
        raise ValueError(wrong) from None
    odd = not target.base_url.isascii() or any(c <= " " for c in target.base_url)
    if url.scheme not in {"http", "https"} or not host or "@" in url.netloc or odd:
        raise ValueError(wrong)
    if url.query or url.fragment:
        raise ValueError(wrong)
    try:
        place = place_of(address_of(host))
    except ValueError:
        return
    if place.where is Where.INSIDE and not target.private:
        raise ValueError(f"{host} is {place.what}: say --private if that is meant")
