"""The border: a name is judged by the address it leads to, and that address is connected to.

A check before the request would be a check of another answer: a name server may say one thing to
the judge and another to whoever connects (DNS rebinding). So the judge sits where a socket is made
for one address, and again where a kept connection is handed out; how that address was found makes
no difference: a resolver, a cache, or a number in the URL in whatever way it is written.
"""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from re import compile as pattern
from typing import Any

import aiohttp
from yarl import URL

from config.address import Network, Where, address_of, place_of

_NAME = pattern(r"[a-z0-9_.-]+")


@dataclass(slots=True)
class Passport:
    """Whom one request may reach, and what came of that."""

    host: str
    inside: bool
    """An operator has named this target: it may be private."""
    networks: tuple[Network, ...]
    """Those of `egress.private`: whatever lies there may be reached."""
    rule: str
    """What does not allow it, for people."""
    barred: str | None = None
    """Why an address was not connected to."""
    tried: bool = False
    """Another address was."""

    def admit(self, written: str) -> None:
        """Let a connection to this address pass.

        Raises:
            OSError: It leads where this request has no business.
        """
        address = address_of(written)
        place = place_of(address)
        allowed = place.where is Where.OUTSIDE or (self.inside and place.where is Where.INSIDE)
        if allowed or any(
            address.version == each.version and address in each for each in self.networks
        ):
            self.tried = True
            return
        rule = self.rule if place.where is Where.INSIDE else "no network in egress.private"
        self.barred = f"{self.host} leads to {written[:60]}, {place.what}, and {rule} allows that"
        raise OSError(errno.EACCES, self.barred)

    @property
    def refusal(self) -> str | None:
        """Why nothing could be reached, where that was the border's doing alone."""
        return None if self.tried else self.barred


_shown: ContextVar[Passport | None] = ContextVar("passport", default=None)


@contextmanager
def crossing(passport: Passport) -> Iterator[None]:
    """What is connected to in here is judged by this passport; without one, nothing is."""
    before = _shown.set(passport)
    try:
        yield
    finally:
        _shown.reset(before)


def _admit(written: str) -> None:
    passport = _shown.get()
    if passport is None:
        raise OSError(errno.EACCES, "nobody has said whom this request may reach")
    passport.admit(written)


def _open(info: Any) -> socket.socket:
    """A socket for this one address, as `aiohttp` asks for it just before it connects."""
    family, kind, protocol, _, address = info
    _admit(address[0])
    return socket.socket(family=family, type=kind, proto=protocol)


class Border(aiohttp.TCPConnector):
    """aiohttp's connector, whose connections are all judged."""

    def __init__(self, *, keepalive_timeout: float) -> None:
        super().__init__(keepalive_timeout=keepalive_timeout, socket_factory=_open)

    async def connect(self, *args: Any, **named: Any) -> Any:
        """A connection, new or kept; one that was made for others is judged for this request."""
        connection = await super().connect(*args, **named)
        peer = connection.transport and connection.transport.get_extra_info("peername")
        if not peer:
            connection.close()
            raise aiohttp.ClientConnectionError("the connection was lost before it was used")
        try:
            _admit(peer[0])
        except OSError as error:
            connection.release()
            raise aiohttp.ClientConnectionError(error.strerror) from None
        return connection


def site_of(url: URL) -> tuple[str, int]:
    """The host and port that a URL names, in the one way in which rules are written.

    Raises:
        ValueError: It is no http(s) URL, holds a login, or its host can be read in two ways.
    """
    host, port = (url.raw_host or "").lower(), url.port
    if url.scheme not in {"http", "https"} or not host or port is None:
        raise ValueError("it is no http(s) URL with a host")
    if url.raw_user is not None or url.raw_password is not None:
        raise ValueError("it holds a login")
    try:
        return str(address_of(host)), port
    except ValueError:
        host = host.rstrip(".")
    if not _NAME.fullmatch(host) or _is_number(host):
        raise ValueError("its host is neither a name nor an address as it is usually written")
    return host, port


def _is_number(host: str) -> bool:
    """Whether the system would read it as an address: 2130706433, 0x7f.1, 0177.0.0.1, 127.1."""
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return True
