"""Who asks: a tenant, by its API key; on the socket of our own data folder, by its word."""

import hmac
import time
from typing import NamedTuple

from aiohttp import web

from models.tenant import LOCAL, TENANT_NAME, Credential, credential, key_id, proof_of
from producer.problems import Malformed, Unauthenticated

TENANT_HEADER = "X-Sluice-Tenant"
_REMEMBERED_S = 5.0
"""A revoked key is refused after this long at the latest."""
_REMEMBERED = 10_000


class Caller(NamedTuple):
    """Who asks."""

    tenant: str
    operator: bool
    """May flip everybody's gate: by a key made for it, or as the owner of our data folder."""
    who: str
    """For the audit."""


class Doorman:
    """Tells tenants apart; remembers a key for a few seconds, and only keys that exist."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, Credential]] = {}

    async def tenant(self, request: web.Request) -> str:
        """The tenant that a request belongs to; see `caller`."""
        return (await self.caller(request)).tenant

    async def caller(self, request: web.Request) -> Caller:
        """Who asks.

        Raises:
            Unauthenticated: No key, or not one of ours.
        """
        if came_by_our_socket(request):
            tenant = request.headers.get(TENANT_HEADER, LOCAL)
            if not TENANT_NAME.fullmatch(tenant):
                raise Malformed(f"{TENANT_HEADER} names no tenant")
            return Caller(tenant, operator=True, who=f"{tenant}, on this host")
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Unauthenticated("send your API key: Authorization: Bearer slk_...")
        public = key_id(key.strip())
        known = await self._credential(public) if public else None
        if known is None or not hmac.compare_digest(known.proof, proof_of(key.strip())):
            raise Unauthenticated("this API key is unknown or revoked")
        role = "operator" if known.operator else "tenant"
        return Caller(known.tenant, known.operator, f"{role} {known.tenant}, with key {known.id}")

    async def _credential(self, public: str) -> Credential | None:
        read_at, known = self._known.get(public, (0.0, None))
        if known is not None and time.monotonic() - read_at < _REMEMBERED_S:
            return known
        known = await credential(public)
        self._known.pop(public, None)
        if known is not None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[public] = (time.monotonic(), known)
        return known


def came_by_our_socket(request: web.Request) -> bool:
    transport = request.transport
    # A unix socket has no peer address; ours lies in a folder that only its owner can enter.
    return transport is not None and not transport.get_extra_info("peername")
