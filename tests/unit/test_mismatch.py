"""What a mismatch tells: every field that differs, and no secret."""

import orjson
import pytest

from config.redaction import Redactor
from worker.mismatch import Asked, Mismatch

REDACT = Redactor(["customer_no"])


SAME = "no field differs, so it is what is not kept: a remembered value, say"


def told(was, now, *, redact=REDACT):
    """The lines after the first two."""
    pair = [Asked("call", "mail.send", orjson.dumps(each)) for each in (was, now)]
    return Mismatch("send", *pair).shown(redact).splitlines()[2:]


@pytest.mark.parametrize(
    ("was", "now", "lines"),
    [
        ({"limit": 5}, {"limit": 10}, ["/limit: 5 -> 10"]),
        ({"a": 1, "b": 2}, {"b": 2}, ["/a: 1 -> absent"]),
        ({"a": {"b/c": [1, 2]}}, {"a": {"b/c": [1, 3, 4]}},
         ["/a/b~1c/1: 2 -> 3", "/a/b~1c/2: absent -> 4"]),
        ({"n": 1}, {"n": True}, ["/n: 1 -> true"]),
        ({"n": 1}, {"n": 1.0}, ["/n: 1 -> 1.0"]),
        ({"n": [1]}, {"n": {"a": 1}}, ['/n: [1] -> {"a":1}']),
        (None, {"n": 1}, ['/: null -> {"n":1}']),
        ({"n": 1}, {"n": 1}, [SAME]),
    ],
)  # fmt: skip
def test_each_field_that_differs_is_told_by_its_pointer(was, now, lines):
    assert told(was, now) == [f"  {each}" for each in lines]


def test_a_secret_is_told_on_neither_side_and_neither_is_its_hash():
    was = {"api_key": "hunter2-hunter2", "auth": {"password": "old", "n": 1}, "customer_no": 17}
    now = {"api_key": "hunter3-hunter3", "auth": {"password": "new", "n": 2}, "customer_no": 18}

    lines = told(was, now)

    assert [each.strip() for each in lines] == [
        "/api_key: *** -> ***",
        "/auth/n: 1 -> 2",
        "/auth/password: *** -> ***",
        "/customer_no: *** -> ***",
    ]


def test_a_secret_within_a_long_text_is_not_hashed():
    text = "x" * 100 + " Bearer abcdefghijklmnop "
    (line,) = told({"text": text + "1"}, {"text": text + "2"})

    assert line == "  /text: str of 126 -> str of 126"


def test_what_is_hidden_whole_stays_hidden_in_its_parts():
    (line,) = told({"token": {"value": "one"}}, {"token": {"value": "two"}})

    assert line == "  /token/value: *** -> ***"


def test_long_values_are_told_by_length_and_hash_and_many_by_number():
    (long,) = told({"text": "a" * 5000}, {"text": "b"})
    many = told({"l": [0] * 40}, {"l": [1] * 40})
    (deep,) = told({"k" * 5000: 1}, {"k" * 5000: 2})

    assert long.startswith("  /text: str of 5,000, sha256 ")
    assert long.endswith(' -> "b"')
    assert len(long) < 60
    assert (len(many), many[-1]) == (11, "  and 30 more")
    assert len(deep) < 100


def test_control_characters_of_a_stranger_move_no_terminal():
    (line,) = told({"text": "\x1b[2J\nfake: line"}, {"text": "ok"})

    assert line == '  /text: "\\u001b[2J\\nfake: line" -> "ok"'


def test_another_tool_and_another_verb_are_named():
    was, now = Asked("call", "mail.send", b"{}"), Asked("ask", None, b"{}")

    assert "on record: call mail.send, now: ask" in Mismatch("send", was, now).shown(REDACT)
    assert "on record: call mail.send" in Mismatch("send", was, None).shown(REDACT)
