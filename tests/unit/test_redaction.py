"""Secrets are hidden by the name they stand under, and by what they look like."""

import io
import json
import sys

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
        ("nothing to hide: a.b@c.d, 12:30", "nothing to hide: a.b@c.d, 12:30"),
        (7, 7),
    ],
)
def test_what_may_hold_a_secret_is_hidden(value, hidden):
    assert Redactor(["iban"])(value) == hidden


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
