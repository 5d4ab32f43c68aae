"""Addresses: which of them lie on the open internet, which inside, and which nowhere to be called.

Sources: the special-purpose address registries of IANA for IPv4 and IPv6 (RFC 6890, as they stood
in 2026), its list of IPv6 address space (of which only 2000::/3 is handed out), RFC 4291 and 6052
for addresses within addresses, RFC 7526 (6to4 is over), and the clouds' manuals for the addresses
of their metadata services. The table is our own, for `ipaddress.is_global` changes with Python.
"""

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Where(StrEnum):
    """Where an address leads."""

    OUTSIDE = "outside"  # the open internet
    INSIDE = "inside"  # this host or a private network: whom an operator trusts may go there
    NOWHERE = "nowhere"  # metadata services, many at once, nobody: only by its own number


class Place(NamedTuple):
    where: Where
    what: str
    """For people: `loopback`."""


_OUTSIDE = Place(Where.OUTSIDE, "a public address")
_UNASSIGNED = Place(Where.NOWHERE, "an address that is not handed out")
_RANGES: tuple[tuple[Network, Place], ...] = tuple(
    (ip_network(written), Place(where, what))
    for written, where, what in (
        # Metadata services: they hand out credentials to whoever asks. First, for some lie within
        # a range that is merely private.
        ("169.254.169.254/32", Where.NOWHERE, "a cloud's metadata service"),
        ("100.100.100.200/32", Where.NOWHERE, "a cloud's metadata service"),
        ("168.63.129.16/32", Where.NOWHERE, "a cloud's metadata service"),
        ("fd00:ec2::/32", Where.NOWHERE, "a cloud's metadata service"),
        ("127.0.0.0/8", Where.INSIDE, "loopback"),
        ("10.0.0.0/8", Where.INSIDE, "a private address"),
        ("172.16.0.0/12", Where.INSIDE, "a private address"),
        ("192.168.0.0/16", Where.INSIDE, "a private address"),
        ("100.64.0.0/10", Where.INSIDE, "shared by a carrier's customers"),
        ("::1/128", Where.INSIDE, "loopback"),
        ("fc00::/7", Where.INSIDE, "a private address"),
        ("0.0.0.0/8", Where.NOWHERE, "unspecified"),
        ("169.254.0.0/16", Where.NOWHERE, "link-local"),
        ("192.0.0.0/24", Where.NOWHERE, "reserved for protocols"),
        ("192.0.2.0/24", Where.NOWHERE, "reserved for documentation"),
        ("192.88.99.0/24", Where.NOWHERE, "a 6to4 relay"),
        ("198.18.0.0/15", Where.NOWHERE, "reserved for benchmarks"),
        ("198.51.100.0/24", Where.NOWHERE, "reserved for documentation"),
        ("203.0.113.0/24", Where.NOWHERE, "reserved for documentation"),
        ("224.0.0.0/4", Where.NOWHERE, "multicast"),
        ("240.0.0.0/4", Where.NOWHERE, "reserved or broadcast"),
        ("::/128", Where.NOWHERE, "unspecified"),
        ("fe80::/10", Where.NOWHERE, "link-local"),
        ("ff00::/8", Where.NOWHERE, "multicast"),
        ("2001::/23", Where.NOWHERE, "reserved for protocols, Teredo among them"),
        ("2001:db8::/32", Where.NOWHERE, "reserved for documentation"),
        ("2002::/16", Where.NOWHERE, "6to4"),
        ("3fff::/20", Where.NOWHERE, "reserved for documentation"),
    )
)
_HANDED_OUT = ip_network("2000::/3")
_MAPPED = ip_network("::ffff:0:0/96")
_NAT64 = ip_network("64:ff9b::/96")
"""The well-known prefix alone: what lies behind 64:ff9b:1::/48 (RFC 8215) only its owner knows."""


def address_of(written: str) -> Address:
    """Read an address as the system writes it; of one that holds an IPv4 address, that one.

    Where such a one leads is decided by the address within: mapped (::ffff:a.b.c.d), or on its
    way through a NAT64.

    Raises:
        ValueError: It is no address.
    """
    address = ip_address(written)
    if isinstance(address, IPv4Address):
        return address
    # An index of an interface, fe80::1%eth0, belongs to the socket and not to the number.
    number = int(address)
    plain = IPv6Address(number)
    if plain in _MAPPED or plain in _NAT64:
        return IPv4Address(number & 0xFFFF_FFFF)
    return plain


def place_of(address: Address) -> Place:
    """Where an address leads; what nobody has heard of leads nowhere."""
    for network, place in _RANGES:
        if address.version == network.version and address in network:
            return place
    if isinstance(address, IPv6Address) and address not in _HANDED_OUT:
        return _UNASSIGNED
    return _OUTSIDE
