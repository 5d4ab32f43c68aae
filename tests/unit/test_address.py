"""Where an address leads, however it is written."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.address import Where, address_of, place_of

INSIDE = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255",
    "192.168.0.1", "100.64.0.1", "100.127.255.255", "::1", "fc00::1", "fdff:ffff::1",
]  # fmt: skip
NOWHERE = [
    "169.254.169.254", "169.254.0.1", "100.100.100.200", "168.63.129.16", "fd00:ec2::254",
    "0.0.0.0", "0.1.2.3", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255",
    "198.51.100.1", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2001::1", "2001:db8::1",
    "2002:7f00:1::", "2002:808:808::", "3fff::1",
    "64:ff9b:1::808:808", "100::1", "5f00::1", "::8.8.8.8", "4000::1",
]  # fmt: skip
OUTSIDE = [
    "8.8.8.8", "1.1.1.1", "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0",
    "100.63.255.255", "100.128.0.0", "169.253.255.255", "169.255.0.0", "223.255.255.255",
    "2606:4700::1111", "2a00:1450::1", "2001:4860:4860::8888", "64:ff9b::808:808", "::ffff:8.8.8.8",
]  # fmt: skip


def where(written: str) -> Where:
    return place_of(address_of(written)).where


@pytest.mark.parametrize(
    ("written", "leads"),
    [(each, Where.INSIDE) for each in INSIDE]
    + [(each, Where.NOWHERE) for each in NOWHERE]
    + [(each, Where.OUTSIDE) for each in OUTSIDE],
)
def test_an_address_leads_where_the_registries_say(written, leads):
    assert where(written) is leads


@pytest.mark.parametrize(
    "written", ["", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "127.0.0.1 "]
)
def test_what_is_no_address_as_it_is_usually_written_is_none(written):
    with pytest.raises(ValueError, match="does not appear to be"):
        address_of(written)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_within_an_ipv6_one_leads_where_it_leads_itself(address: IPv4Address):
    mapped, through_nat64 = f"::ffff:{address}", str(IPv6Address((0x64FF9B << 96) | int(address)))

    assert address_of(mapped) == address_of(through_nat64) == address
    assert where(mapped) is where(through_nat64) is where(str(address))


@given(st.ip_addresses())
def test_what_python_calls_private_or_many_is_never_outside(address: IPv4Address | IPv6Address):
    listed = not address.is_global or address.is_multicast or address.is_unspecified
    listed = listed and getattr(address, "ipv4_mapped", None) is None

    assert not (listed and where(str(address)) is Where.OUTSIDE)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_outside_where_python_calls_it_global_but_for_four_ranges(address):
    ours = ("192.88.99.", "168.63.129.16", "192.0.0.", "100.100.100.200")
    expected = address.is_global and not address.is_multicast

    if not str(address).startswith(ours):
        assert (where(str(address)) is Where.OUTSIDE) == expected


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_is_outside_only_where_it_was_handed_out(address: IPv6Address):
    handed_out = ip_address("2000::") <= address < ip_address("4000::")
    holds_another = address_of(str(address)).version == 4

    if where(str(address)) is Where.OUTSIDE:
        assert handed_out or holds_another
