"""The policy's word on approvals."""

import pytest

from config.policy_approvals import Approval
from config.policy_file import PolicyError, read


@pytest.mark.parametrize("rule", ["always", "never", "above(/usd, 100)", "first(3)"])
def test_a_rule_is_read_and_written_alike(rule):
    assert str(Approval.of(rule)) == rule


@pytest.mark.parametrize(
    "rule",
    ["sometimes", "above(usd, 1)", "above(/usd)", "first(0)", "first(-1)", "above(/a,NaN)", 3],
)
def test_anything_else_is_refused_with_its_line(tmp_path, rule):
    path = tmp_path / "p.yaml"
    path.write_text(f"tools:\n  approvals:\n    'mail.*': '{rule}'\n")
    with pytest.raises(PolicyError, match=r"line 3.*always, never, above"):
        read(path)


@pytest.mark.parametrize(
    ("document", "asked"),
    [
        ({"usd": 100}, False), ({"usd": "100.00"}, False), ({"usd": 100.01}, True),
        ({"usd": "NaN"}, True), ({"usd": "Infinity"}, True), ({"usd": True}, True),
        ({"usd": None}, True), ({}, True), ([], True), ({"usd": "many"}, True),
        ({"usd": -5}, False),
    ],
)  # fmt: skip
def test_above_an_amount_or_without_one_a_person_is_asked(document, asked):
    assert Approval.of("above(/usd, 100)").asked_of(document, 0) is asked


@pytest.mark.parametrize(("approved", "asked"), [(0, True), (2, True), (3, False)])
def test_the_first_calls_are_asked_for(approved, asked):
    assert Approval.of("first(3)").asked_of({}, approved) is asked


def test_an_overlay_may_say_otherwise(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(
        "tools: {approvals: {'mail.*': always}}\n"
        "tenants: {acme: {tools: {approvals: {'mail.*': 'above(/usd, 5)'}}}}\n"
    )
    policy = read(path).policy
    assert str(policy.of("umbrella", "p").approval("mail.send")) == "always"
    assert str(policy.of("acme", "p").approval("mail.send")) == "above(/usd, 5)"
    assert policy.approval("other") is None
