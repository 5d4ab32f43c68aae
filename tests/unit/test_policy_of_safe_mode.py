"""The policy of safe mode: what an operator writes into it in a hurry, and what is refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from config.policy import Policy
from config.policy_file import PolicyError, read
from config.policy_safe_mode import Triggers

PRINTED = """\
safe_mode:
  enabled: false # Toggle in emergencies
  allowed_tools:
    - "search.read"
    - "kb.read"
"""
"""As the handbook prints it that Sluice follows."""
LAUGHS = "l0: &l0 [ha]\n" + "".join(
    f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGES = LAUGHS.replace("[ha]", "{k: v}").replace(" [", " {<<: [").replace("]\n", "]}\n")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "policy.yaml"


def refusal(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PolicyError) as refused:
        read(path)
    return str(refused.value)


def test_the_block_that_the_handbook_prints_loads_as_it_stands(path):
    path.write_text(PRINTED)

    safe_mode = read(path).policy.safe_mode

    assert not safe_mode.enabled
    assert safe_mode.allows("kb.read")
    assert not safe_mode.allows("ticket.read")


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}", "\ufeffsafe_mode: {}\n"])
def test_what_the_file_leaves_out_has_the_safe_default(path, text):
    path.write_text(text, encoding="utf-8")

    assert read(path).policy == Policy()


@pytest.mark.parametrize("said", ["true", "True", "yes", "on", '"true"'])
def test_in_an_emergency_it_is_on_however_yes_is_spelt(path, said):
    path.write_text(f"safe_mode: {{enabled: {said}}}")

    assert read(path).policy.safe_mode.enabled


def test_an_allowed_tool_may_be_a_pattern_and_letters_count(path):
    path.write_text('safe_mode: {allowed_tools: ["kb.*"]}')

    safe_mode = read(path).policy.safe_mode

    assert [each for each in ("kb.read", "KB.read", "akb.read") if safe_mode.allows(each)] == [
        "kb.read"
    ]


def test_null_switches_a_trigger_off(path):
    path.write_text("safe_mode: {triggers: {failed_of: null, usd_per_minute: 0.25}}")

    found = read(path).policy.safe_mode.triggers

    assert found == Triggers(failed_of=None, usd_per_minute="0.25")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("safemode: {}", "safemode"),
        ("safe_mode: {enbled: true}", "safe_mode.enbled"),
        ("safe_mode: {Enabled: true}", "safe_mode.Enabled"),
        ("safe_mode:", "safe_mode"),
        ("safe_mode: [enabled]", "safe_mode"),
        ("safe_mode: {enabled: }", "safe_mode.enabled"),
        ("safe_mode: {enabled: 2}", "safe_mode.enabled"),
        ("safe_mode: {allowed_tools: kb.read}", "safe_mode.allowed_tools"),
        ("safe_mode: {allowed_tools: null}", "safe_mode.allowed_tools"),
        ("safe_mode: {allowed_tools: [kb.read, 7]}", "safe_mode.allowed_tools[1]"),
        ("safe_mode: {triggers: {window_s: soon}}", "safe_mode.triggers.window_s"),
        ("safe_mode: {triggers: {window_s: 4.9}}", "safe_mode.triggers.window_s"),
        ("safe_mode: {triggers: {window_s: .nan}}", "safe_mode.triggers.window_s"),
        ("safe_mode: {triggers: {failed_share: .nan}}", "safe_mode.triggers.failed_share"),
        ("safe_mode: {triggers: {failed_share: 50}}", "safe_mode.triggers.failed_share"),
        ("safe_mode: {triggers: {failed_share: 0}}", "safe_mode.triggers.failed_share"),
        ("safe_mode: {triggers: {failed_of: 0}}", "safe_mode.triggers.failed_of"),
        ("safe_mode: {triggers: {failed_of: .inf}}", "safe_mode.triggers.failed_of"),
        ("safe_mode: {triggers: {usd_per_minute: -1}}", "safe_mode.triggers.usd_per_minute"),
        ("safe_mode: {triggers: {usd_per_minute: .nan}}", "safe_mode.triggers.usd_per_minute"),
    ],
)
def test_what_no_policy_says_is_refused_by_the_names_of_file_and_key(path, text, key):
    told = refusal(path, text)

    assert told.startswith(f"the policy {path} is wrong: {key} (line 1): ")
    assert "\n" not in told


def test_a_safe_mode_that_is_on_and_off_is_refused(path):
    assert "a second time" in refusal(path, "safe_mode: {enabled: true, enabled: false}")


@pytest.mark.parametrize("bomb", [LAUGHS, MERGES])
def test_a_small_file_that_grows_without_end_is_refused_at_once(path, bomb):
    assert "line 1: there is an alias" in refusal(path, bomb)


def test_a_file_nested_without_end_is_refused(path):
    refusal(path, "[" * 1000 + "]" * 1000)


def test_a_file_nested_deeper_still_kills_nobody(path):
    path.write_text("[" * 100_000)
    program = "import sys, pathlib, config.policy_file as p; p.read(pathlib.Path(sys.argv[1]))"

    died = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, check=False
    ).returncode

    assert died == 1, "the exit code of an exception"


def test_a_number_is_no_yes_or_no(path):
    assert "failed_of" in refusal(path, "safe_mode: {triggers: {failed_of: true}}")


def test_a_refusal_holds_nothing_that_a_terminal_obeys(path):
    assert refusal(path, '"\\e[2J": 1').isprintable()
