"""Tenants and their API keys; a key is shown once and kept as two hashes."""

import hashlib
import hmac
import re
import secrets
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import LargeBinary, Text
from sqlmodel import Field, SQLModel

from models import audit
from models.columns import when
from models.database import hot
from models.shadow import SHADOW

TENANT_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
LOCAL = "local"
"""The tenant of whoever sits at this machine: of the command line, and of our own socket."""
_KEY = re.compile(r"slk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_TENANT = "INSERT INTO tenant (name) VALUES ($1) ON CONFLICT DO NOTHING"
_KEY_ROW = """
    INSERT INTO api_key (id, tenant, proof, signing_key, operator) VALUES ($1, $2, $3, $4, $5)
"""
_KEY_ID = re.compile(r"[0-9a-f]{16}")


class Tenant(SQLModel, table=True):
    name: str = Field(primary_key=True, sa_type=Text)
    created_at: datetime | None = when(nullable=False, default="now()")


class ApiKey(SQLModel, table=True):
    """`proof` checks a bearer; `signing_key` checks signatures, and forges no bearer."""

    __tablename__ = "api_key"

    id: str = Field(primary_key=True, sa_type=Text)
    tenant: str = Field(sa_type=Text, foreign_key="tenant.name")
    proof: bytes = Field(sa_type=LargeBinary)
    signing_key: bytes = Field(sa_type=LargeBinary)
    created_at: datetime | None = when(nullable=False, default="now()")
    revoked_at: datetime | None = when()
    operator: bool = False
    """It may flip the gate of every scope, not only of its tenant's."""


class Credential(NamedTuple):
    """What the database keeps of a living key."""

    id: str
    tenant: str
    proof: bytes
    signing_key: bytes
    operator: bool


def proof_of(key: str) -> bytes:
    """A key has 256 random bits, so one round of SHA-256 is enough to hide it."""
    return hashlib.sha256(b"bearer:" + key.encode()).digest()


def signing_key_of(key: str) -> bytes:
    return hashlib.sha256(b"signing:" + key.encode()).digest()


def key_id(key: str) -> str | None:
    """The public part of a key, or None when this is no key of ours."""
    match = _KEY.fullmatch(key)
    return match.group(1) if match else None


async def create_key(tenant: str, *, who: str = "sluice", operator: bool = False) -> str:
    """Make a key for a tenant, and the tenant where it is new; the key is returned only here.

    With `operator`, it also flips the gate of every scope.

    Raises:
        ValueError: The name is not one a tenant may have.
    """
    if tenant == SHADOW:
        raise ValueError(f"{SHADOW} is the tenant of the guards' trials: its rows are removed")
    if not TENANT_NAME.fullmatch(tenant):
        raise ValueError(
            f"{tenant!r} cannot name a tenant: use 1 to 63 of a-z, 0-9, '_', '.', '-',"
            " beginning with a letter or digit"
        )
    public = secrets.token_hex(8)
    key = f"slk_{public}_{secrets.token_urlsafe(32)}"
    about = {"tenant": tenant, "key": public, "operator": operator}
    async with hot().acquire() as connection, connection.transaction():
        await connection.execute(_TENANT, tenant)
        await connection.execute(
            _KEY_ROW, public, tenant, proof_of(key), signing_key_of(key), operator
        )
        await audit.append(connection, who=who, act=audit.Act.KEY, about=about)
    return key


async def credential(public: str) -> Credential | None:
    """The living key with this id, whatever text that is."""
    if not _KEY_ID.fullmatch(public):
        return None
    row = await hot().fetchrow(
        "SELECT id, tenant, proof, signing_key, operator FROM api_key"
        " WHERE id = $1 AND revoked_at IS NULL",
        public,
    )
    return Credential(*row) if row else None


def signature(signing_key: bytes, body: bytes) -> str:
    return hmac.new(signing_key, body, hashlib.sha256).hexdigest()
