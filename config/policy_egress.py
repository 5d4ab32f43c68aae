"""The policy's part on egress: what leaves over HTTP, for whom, and how much may come back."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from config.address import Network, address_of

_LABEL = r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"
_SITE = re.compile(
    rf"(?P<host>\*|(\*\.)?{_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{{1,5}}))?"
)
_NUMBERS = re.compile(r"[0-9.]+")
_USUAL_PORTS = (80, 443)


@dataclass(frozen=True, slots=True)
class Site:
    """A host, all below a domain (`*.example.org`), or any (`*`); without a port, 80 and 443."""

    host: str
    port: int | None = None

    def fits(self, host: str, port: int) -> bool:
        if port not in _USUAL_PORTS if self.port is None else port != self.port:
            return False
        if self.host.startswith("*."):
            return host.endswith(self.host[1:])
        return self.host in {"*", host}


def site(written: str) -> Site:
    """Read `HOST`, `HOST:PORT`, `*.DOMAIN`, `*` or an address (IPv6 in brackets).

    Raises:
        ValueError: It is none of them; the sentence says what to write.
    """
    match = _SITE.fullmatch(written.lower())
    if match is None:
        raise ValueError(
            f"{written[:80]!r} is no host: write api.example.com, *.example.com, either with a"
            " :port, or * for any; no scheme, no path, and other letters as punycode"
        )
    host, port = match["host"], match["port"]
    if port is not None and not 0 < int(port) < 2**16:
        raise ValueError(f"{port} is no port")
    if host.startswith("[") or _NUMBERS.fullmatch(host):
        host = str(address_of(host.strip("[]")))
    return Site(host, None if port is None else int(port))


def _a_site(written: str) -> str:
    site(written)
    return written


def _a_private(written: str) -> str:
    if _network(written) is None and site(written).host == "*":
        raise ValueError("* would open every private network to every name; write networks instead")
    return written


def _network(written: str) -> Network | None:
    """A network or an address, or None where it is a name."""
    if written.startswith("["):
        return None
    try:
        return ip_network(written)
    except ValueError:
        if "/" in written:
            raise
        return None


@dataclass(frozen=True, slots=True)
class Reach:
    """How far one tool's requests reach."""

    hosts: tuple[Site, ...] = ()
    """Beside those that its own target's base URL names."""
    inside: tuple[Site, ...] = ()
    """Names that may lead to private addresses."""
    networks: tuple[Network, ...] = ()
    """Addresses that may be reached whatever they are."""
    max_bytes: int = 1024 * 1024
    max_seconds: float | None = None

    def admits(self, host: str, port: int) -> bool:
        return any(each.fits(host, port) for each in self.hosts)

    def leads_inside(self, host: str, port: int) -> bool:
        return any(each.fits(host, port) for each in self.inside)


class Egress(BaseModel, frozen=True, extra="forbid"):
    """What tools may reach over HTTP. A tool's own target, which an operator named, needs no entry;
    a place that came with a call's arguments does."""

    hosts: dict[str, tuple[Annotated[str, AfterValidator(_a_site)], ...]] = {}
    """By tool, `*` as in file names; all entries that fit count. Not named is not reached."""
    private: tuple[Annotated[str, AfterValidator(_a_private)], ...] = ()
    """Names that may lead to private addresses, and networks that may be reached."""
    max_bytes: int = Field(default=1024 * 1024, ge=1024, le=64 * 1024 * 1024)
    """Of an answer's body; a larger one is not read to its end."""
    max_seconds: float | None = Field(default=None, gt=0)
    """Of one exchange; None: as long as its call may take."""

    def of(self, tool: str) -> Reach:
        """What holds for one tool."""
        written = (
            each
            for pattern, hosts in self.hosts.items()
            if fnmatchcase(tool, pattern)
            for each in hosts
        )
        networks = {each: _network(each) for each in self.private}
        return Reach(
            hosts=tuple(map(site, written)),
            inside=tuple(site(each) for each, network in networks.items() if network is None),
            networks=tuple(network for network in networks.values() if network is not None),
            max_bytes=self.max_bytes,
            max_seconds=self.max_seconds,
        )
