"""The policy's file: read whole or refused, with the line of what is wrong."""

import os
from decimal import Decimal
from pathlib import Path

import pytest

from config import policy_file, rulebook
from config.policy_file import PolicyError, read
from config.rulebook import Rulebook

SAFE_DEFAULT = """
agent:
  budgets: {max_steps: 25, max_seconds: 60, max_tool_calls: 40, max_usd: 1.0}
  loop_detection: {repeated_calls_threshold: 3, no_progress_threshold: 6}
tools:
  allow: ["search.read", "kb.read", "ticket.create"]
  idempotency_required: ["ticket.create"]
  timeouts_s: {default: 10, "search.read": 5, "ticket.create": 15}
  retries: {max_attempts: 2, retryable_status: [429, 500, 503, 504], backoff_ms: [250, 750, 2000]}
  circuit_breakers: {enabled: true, failure_threshold: 5, window_seconds: 60}
validation:
  input: { strict: true }
  output: { fail_closed: true }
logging:
  level: "info"
  structured: true
  include: ["run_id", "tool", "args_hash", "elapsed_s", "status", "stop_reason", "cost_usd"]
  redact: ["authorization", "cookie", "token", "api_key"]
safe_mode:
  enabled: false # Toggle in emergencies
  allowed_tools: ["search.read", "kb.read"]
"""


def wrote(folder: Path, text: str | bytes) -> Path:
    path = folder / "policy.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_the_policy_that_ships_says_what_the_code_would_say_without_it(tmp_path):
    shipped = read(Path(policy_file.__file__).parent / "policy.yaml").policy

    assert shipped == read(wrote(tmp_path, "")).policy


def test_the_safe_default_configuration_loads(tmp_path):
    policy = read(wrote(tmp_path, SAFE_DEFAULT)).policy

    assert policy.agent.budgets.max_usd == Decimal("1.0")
    assert policy.tools.timeouts_s.of("search.read") == 5
    assert policy.tools.timeouts_s.of("kb.read") == 10
    assert [policy.judge(each).allowed for each in ("kb.read", "ticket.update")] == [True, False]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tols: {}", "tols (line 1): there is no such key; tools?"),
        ("tools:\n  limits:\n    x: {per_secnd: 3}", "limits.x.per_secnd (line 3): there is no"),
        ("tenants: {acme: {agent: {budgets: {max_step: 3}}}}", "tenants.acme.agent.budgets.max_st"),
        (
            "tenants: {acme: {tools: {circuit_breakers: {enabled: false}}}}",
            "tenants.acme.tools (line 1): Value error, circuit_breakers are the whole fleet's",
        ),
        ("safe_mode: {enabled: perhaps}", "safe_mode.enabled (line 1): Input should be a valid"),
        ("tools: {timeouts_s: {a: -1}}", "tools.timeouts_s.a (line 1): Input should be greater"),
        ("tools: {}\nsafe_mode: {}\ntools: {}", "line 3: there is tools a second time"),
        ("a: &a [1]\nb: *a", "line 1: there is an alias"),
        ("!!python/object:os.system x", "there is the tag"),
        ("safe_mode: {enabled: !!binary aaa}", "line 1: there is"),
        ("when: 2001-99-99", "month must be in 1..12"),
        ("[1, 2]", "the file (line 1): Input should be a valid dictionary"),
        ("a: [", "is no YAML"),
        (b"\xff\xfe\x00", "is no YAML"),
        ("#" * 300_000, "larger than 262144 bytes"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, text, told):
    with pytest.raises(PolicyError) as refused:
        read(wrote(tmp_path, text))

    assert told in str(refused.value)
    assert "\n" not in str(refused.value).replace(str(tmp_path), "")


def test_a_folder_and_a_missing_file_are_told(tmp_path):
    for path in (tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(PolicyError, match="cannot be read"):
            read(path)


def test_deny_wins_and_an_overlay_adds_to_it(tmp_path):
    policy = read(
        wrote(
            tmp_path,
            "tools: {allow: ['ticket.*'], deny: ['*.delete']}\n"
            "pipelines: {triage: {tools: {allow: ['kb.read', 'ticket.*']}}}\n"
            "tenants: {acme: {tools: {deny: ['ticket.update']}, agent: {budgets: {max_usd: 2}}}}\n",
        )
    ).policy

    assert policy.judge("ticket.delete") == (False, "tools.deny", "*.delete")
    assert policy.judge("ticket.update").allowed
    assert not policy.judge("kb.read").allowed
    own = policy.of("acme", "triage")
    assert own.judge("kb.read").allowed
    assert own.judge("ticket.update").rule == "tools.deny"
    assert own.judge("ticket.delete").rule == "tools.deny"
    assert own.agent.budgets.max_usd == 2
    assert policy.of("umbrella", "other") is policy


def test_a_changed_file_is_read_again_and_a_broken_one_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(rulebook, "LOOK_S", 0.0)
    path = wrote(tmp_path, "tools: {deny: [a]}")
    rules = Rulebook(path)
    first = rules.revision

    kept = []
    for stamp, text in enumerate(("tools: {deny: [", "", "tools: {deny: [b]}"), start=1):
        wrote(tmp_path, text)
        os.utime(path, ns=(stamp, stamp))
        rules.look()  # it may be half written
        kept.append((rules.revision, rules.of("t", "p").tools.deny))
        rules.look()

    assert kept == [(first, ("a",))] * 3
    assert rules.revision != first
    assert rules.of("t", "p").tools.deny == ("b",)
