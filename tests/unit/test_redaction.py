"""Secrets are hidden by the name they stand under, and by what they look like."""

import io
import json
import sys
import time

import pytest
import structlog

from config import telemetry
from config.policy_logging import Logging
from config.redaction import Redactor
from config.settings import Settings

KEY = "slk_" + "0" * 16 + "_" + "A" * 43


@pytest.mark.parametrize(
    ("value", "hidden"),
    [
        ({"Authorization": "Bearer abcdefgh"}, {"Authorization": "***"}),
        ({"headers": [{"Set-Cookie": "a=1"}]}, {"headers": [{"Set-Cookie": "***"}]}),
        ({"x_api_key_2": "k", "n": 1}, {"x_api_key_2": "***", "n": 1}),
        ({"iban": "DE1"}, {"iban": "***"}),
        ({"token": None, "tokens_in": 0}, {"token": None, "tokens_in": 0}),
        ("sent Bearer abcdefgh.ijk", "sent Bearer ***"),
        (f"the key {KEY} is", f"the key slk_{'0' * 16}_*** is"),
        ("postgresql://me:hunter2@db/x", "postgresql://me:***@db/x"),
        ("sk-abcdefghijklmnop1234", "sk-***"),
        ({"apiKey": "k", "API-Key": "l"}, {"apiKey": "***", "API-Key": "***"}),
        ({"tokens": 12, "max_tokens": 5.0}, {"tokens": 12, "max_tokens": 5.0}),
        ({"token": 12, "token_required": True}, {"token": "***", "token_required": True}),
        ("api_key=abc&page=2", "api_key=***&page=2"),
        ('{"access_token": "a b", "n": 1}', '{"access_token": "***", "n": 1}'),
        (r"{\'Cookie\': \'sid=1; b=2\', 'n': 1}", r"{\'Cookie\': \'***\', 'n': 1}"),
        ("Cookie: sid=1; theme=dark\nHost: x", "Cookie: ***\nHost: x"),
        ("authorization: Bearer abcdefgh", "authorization: ***"),
        ("max_tokens: 12", "max_tokens: 12"),
        ("iban: DE1, mine", "iban: ***, mine"),
        ("contract KD-123456.", "contract ***."),
        ("a basic misunderstanding, a bearer", "a basic misunderstanding, a bearer"),
        ("nothing to hide: a.b@c.d, 12:30", "nothing to hide: a.b@c.d, 12:30"),
        (7, 7),
    ],
)
def test_what_may_hold_a_secret_is_hidden(value, hidden):
    assert Redactor(["iban"], ["KD-[0-9]{6}"])(value) == hidden


def test_in_data_prose_is_left_alone_and_secrets_are_not():
    data = {"reply": "your password: reset it", "secret": "x", "sent": "Bearer abcdefgh1, KD-1"}

    assert Redactor(patterns=["KD-1"]).data(data) == {
        "reply": "your password: reset it", "secret": "***", "sent": "Bearer ***, ***",
    }  # fmt: skip


@pytest.mark.parametrize(("pattern", "why"), [("(", "no regular expression"), ("x*", "empty text")])
def test_a_pattern_that_is_none_or_hides_everything_is_refused(pattern, why):
    with pytest.raises(ValueError, match=why):
        Logging(redact_patterns=(pattern,))


@pytest.mark.parametrize(
    "text",
    ["a" * 500_000, "token" * 100_000, "token " * 100_000, "cookie:'" * 50_000, "://" * 200_000],
)
def test_no_text_from_outside_takes_long(text):
    begun = time.process_time()

    Redactor(["iban"])(text)

    assert time.process_time() - begun < 2


def test_what_sentry_is_sent_is_redacted(monkeypatch):
    said = {}
    monkeypatch.setattr(telemetry.sentry_sdk, "init", lambda **options: said.update(options))
    try:
        telemetry.configure(Settings(sentry_dsn="https://k@s.invalid/1"), part="test")
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()

    frames = {"exception": {"values": [{"type": "E", "value": "api_key=abc"}]}}
    assert "abc" not in str(said["before_send"](frames, {}))


def test_what_is_nested_without_end_is_cut_off():
    deep: list = []
    for _ in range(1000):
        deep = [deep]

    assert "***" in str(Redactor()(deep))


def test_every_log_line_passes_it(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    try:
        telemetry.configure(Settings(), part="test", policy=Logging(redact=("iban",)))
        structlog.get_logger().warning("a.line", iban="DE1", url="redis://:hunter2@x", n=1)
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()

    line = json.loads(written.getvalue())
    assert (line["iban"], line["url"], line["n"]) == ("***", "redis://:***@x", 1)


@pytest.mark.parametrize(
    ("own", "said", "written"),
    [
        ({}, Logging(level="error"), False),
        ({"log_level": "info"}, Logging(level="error"), True),
        ({}, Logging(), True),
    ],
)
def test_the_policys_level_holds_where_the_environment_does_not_say(
    monkeypatch, own, said, written
):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    try:
        telemetry.configure(Settings(**own), part="test", policy=said)
        structlog.get_logger().warning("a.line")
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()

    assert bool(out.getvalue()) is written


@pytest.mark.parametrize(("structured", "begins"), [(True, "{"), (False, "2"), (None, "{")])
def test_lines_are_for_machines_or_people_as_the_policy_says(monkeypatch, structured, begins):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    try:
        telemetry.configure(Settings(), part="test", policy=Logging(structured=structured))
        structlog.get_logger().warning("a.line")
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()

    assert out.getvalue().lstrip("\x1b[20m").startswith(begins) or structured is False
