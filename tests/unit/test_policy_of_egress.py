"""The policy of egress: hosts as they are written, what they let pass, and what is refused."""

import pytest

from config.address import address_of
from config.policy_egress import Reach, site
from config.policy_file import PolicyError, read

WRITTEN = """
egress:
  hosts:
    "search.*": ["api.example.com", "*.example.org:443"]
    "search.read": ["[2606:4700::1]:8443"]
    "kb.read": ["*"]
  private: ["wiki.corp.example", "10.20.0.0/16", "127.0.0.2"]
  max_bytes: 2048
  max_seconds: 1.5
tenants:
  acme: {egress: {hosts: {"search.*": ["acme.example"]}, max_bytes: 4096}}
  umbrella: {egress: {private: []}}
"""


@pytest.fixture
def policy(tmp_path):
    (tmp_path / "policy.yaml").write_text(WRITTEN)
    return read(tmp_path / "policy.yaml").policy


@pytest.mark.parametrize(
    ("tool", "host", "port", "admitted"),
    [
        ("search.read", "api.example.com", 443, True),
        ("search.read", "api.example.com", 80, True),
        ("search.read", "api.example.com", 8080, False),
        ("search.read", "www.api.example.com", 443, False),
        ("search.read", "a.b.example.org", 443, True),
        ("search.read", "a.b.example.org", 80, False),
        ("search.read", "example.org", 443, False),
        ("search.read", "badexample.org", 443, False),
        ("search.read", "2606:4700::1", 8443, True),
        ("search.write", "2606:4700::1", 8443, False),
        ("kb.read", "anything.example", 443, True),
        ("kb.read", "anything.example", 22, False),
        ("ticket.read", "api.example.com", 443, False),
    ],
)
def test_a_tool_reaches_the_hosts_of_all_its_patterns_and_no_other(
    policy, tool, host, port, admitted
):
    assert policy.egress.of(tool).admits(host, port) is admitted


def test_nothing_said_is_nothing_reached(tmp_path):
    (tmp_path / "policy.yaml").write_text("")

    reach = read(tmp_path / "policy.yaml").policy.egress.of("search.read")

    assert reach == Reach()
    assert not reach.admits("api.example.com", 443)


def test_what_is_private_is_opened_by_name_or_by_network(policy):
    reach = policy.egress.of("search.read")

    assert reach.leads_inside("wiki.corp.example", 443)
    assert not reach.leads_inside("www.wiki.corp.example", 443)
    assert [
        any(address_of(each) in network for network in reach.networks)
        for each in ("10.20.3.4", "127.0.0.2", "127.0.0.1", "10.21.0.1")
    ] == [True, True, False, False]


def test_an_overlay_replaces_a_patterns_hosts_and_leaves_the_others(policy):
    acme, umbrella = policy.of("acme", "").egress, policy.of("umbrella", "").egress

    assert acme.of("search.write").admits("acme.example", 443)
    assert not acme.of("search.write").admits("api.example.com", 443)
    assert acme.of("kb.read").admits("anything.example", 443)
    assert (acme.max_bytes, umbrella.max_bytes) == (4096, 2048)
    assert (acme.max_seconds, umbrella.private) == (1.5, ())


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("egress: {hots: {}}", "egress.hots"),
        ("egress: {hosts: {a: ['http://x.example']}}", "egress.hosts.a[0]"),
        ("egress: {hosts: {a: [ok.example, 'x.example/path']}}", "egress.hosts.a[1]"),
        ("egress: {hosts: {a: ['x.*.example']}}", "egress.hosts.a[0]"),
        ("egress: {hosts: {a: ['x.example:0']}}", "egress.hosts.a[0]"),
        ("egress: {hosts: {a: ['x.example:99999']}}", "egress.hosts.a[0]"),
        ("egress: {hosts: {a: ['127.1']}}", "egress.hosts.a[0]"),
        ("egress: {hosts: {a: ['bücher.example']}}", "egress.hosts.a[0]"),
        ("egress: {hosts: {a: x.example}}", "egress.hosts.a"),
        ("egress: {private: ['*']}", "egress.private[0]"),
        ("egress: {private: ['10.0.0.1/8']}", "egress.private[0]"),
        ("egress: {private: ['http://wiki']}", "egress.private[0]"),
        ("egress: {max_bytes: 10}", "egress.max_bytes"),
        ("egress: {max_bytes: 1000000000}", "egress.max_bytes"),
        ("egress: {max_seconds: 0}", "egress.max_seconds"),
        ("tenants: {acme: {egress: {hots: {}}}}", "tenants.acme.egress.hots"),
    ],
)
def test_what_no_policy_says_of_egress_is_refused_with_its_line(tmp_path, text, key):
    path = tmp_path / "policy.yaml"
    path.write_text(text)

    with pytest.raises(PolicyError) as refused:
        read(path)

    assert f"is wrong: {key} (line 1): " in str(refused.value)


def test_a_host_is_read_in_one_way():
    assert site("API.Example.com") == site("api.example.com")
    assert site("[::FFFF:7F00:1]:80") == site("127.0.0.1:80")
