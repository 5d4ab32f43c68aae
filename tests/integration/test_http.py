"""Targets that fail on the wire in every way we know, and what a tool hears of it."""

import asyncio
import gzip
import socket
from datetime import UTC, datetime
from time import monotonic

import pytest
from pydantic import SecretStr

from models.run import StopReason
from tests.target import (
    Target,
    a_call,
    closes_after_reading,
    gives_half_an_answer,
    is_a_black_hole,
    read,
    resets_after_reading,
    resets_before_reading,
    says,
    talks_nonsense,
    target,
    write,
)
from tools import http
from tools.answers import RETRY_AFTER_LIMIT_S, retry_after_s
from tools.http import Wire
from tools.tool import Ambiguous, Rejected, Unavailable

LOST = [
    resets_before_reading,
    resets_after_reading,
    closes_after_reading,
    gives_half_an_answer,
    talks_nonsense,
]


@pytest.mark.parametrize("answer", LOST)
async def test_a_write_without_a_whole_answer_is_ambiguous(answer):
    async with target(answer) as it:
        with pytest.raises(Ambiguous) as caught:
            await write(it)

    assert caught.value.reason is StopReason.TOOL_FAILED
    assert it.connections == 1


@pytest.mark.parametrize("answer", LOST)
async def test_a_read_without_a_whole_answer_may_be_tried_again(answer):
    async with target(answer) as it:
        with pytest.raises(Unavailable):
            await read(it)


async def test_an_answer_is_waited_for_until_the_deadline_and_not_longer():
    async with target(is_a_black_hole) as it:
        started = monotonic()
        with pytest.raises(Ambiguous) as written:
            await write(it, a_call(lasts_s=0.3, leaves_within_s=0.2))
        with pytest.raises(Unavailable) as seen:
            await read(it, a_call(lasts_s=0.3))

    assert {written.value.reason, seen.value.reason} == {StopReason.TOOL_TIMEOUT}
    assert 0.6 <= monotonic() - started < 1.5


@pytest.mark.parametrize(
    ("status", "written", "seen", "reason"),
    [
        ("401 Unauthorized", Rejected, Rejected, StopReason.TOOL_AUTH_FAILED),
        ("403 Forbidden", Rejected, Rejected, StopReason.TOOL_AUTH_FAILED),
        ("400 Bad Request", Rejected, Rejected, StopReason.TOOL_FAILED),
        ("404 Not Found", Rejected, Rejected, StopReason.TOOL_FAILED),
        ("422 Unprocessable", Rejected, Rejected, StopReason.TOOL_FAILED),
        ("408 Request Timeout", Ambiguous, Unavailable, StopReason.TOOL_TIMEOUT),
        ("429 Too Many Requests", Unavailable, Unavailable, StopReason.TOOL_RATE_LIMIT),
        ("503 Service Unavailable", Unavailable, Unavailable, StopReason.TOOL_FAILED),
        ("500 Internal Server Error", Ambiguous, Unavailable, StopReason.TOOL_FAILED),
        ("502 Bad Gateway", Ambiguous, Unavailable, StopReason.TOOL_FAILED),
        ("504 Gateway Timeout", Ambiguous, Unavailable, StopReason.TOOL_TIMEOUT),
        ("529 Overloaded", Ambiguous, Unavailable, StopReason.TOOL_FAILED),
        ("302 Found", Ambiguous, Rejected, StopReason.TOOL_FAILED),
        ("303 See Other", Ambiguous, Rejected, StopReason.TOOL_FAILED),
        ("307 Temporary Redirect", Rejected, Rejected, StopReason.TOOL_FAILED),
        ("308 Permanent Redirect", Rejected, Rejected, StopReason.TOOL_FAILED),
    ],
)
async def test_a_status_says_what_the_caller_may_do_next(status, written, seen, reason):
    async with target(says(status, b"why not", "Location: /elsewhere")) as it:
        with pytest.raises(written) as writing:
            await write(it)
        with pytest.raises(seen) as reading:
            await read(it)

    assert writing.value.reason is reading.value.reason is reason
    assert f"answered {status}: why not." in str(writing.value)
    assert it.lines == ["POST /x", "GET /x"]  # and no redirect was followed


async def test_a_conflict_is_left_to_the_tool():
    async with target(says("409 Conflict", b'{"error": "exists"}')) as it:
        reply = await write(it)

    assert (reply.status, reply.body) == (409, {"error": "exists"})


async def test_a_conflict_in_plain_words_is_left_to_the_tool_as_well():
    async with target(says("409 Conflict", b"exists")) as it:
        reply = await write(it)

    assert (reply.status, reply.body) == (409, None)


@pytest.mark.parametrize(
    "body", [b"<html>ok</html>", b'{"a": NaN}', b'{"a": "\xff"}', b"[" + b" " * 10_000_000 + b"]"]
)
async def test_a_yes_that_cannot_be_read_leaves_a_write_in_doubt(body):
    async with target(says("200 OK", body)) as it:
        with pytest.raises(Ambiguous) as written:
            await write(it)
        with pytest.raises(Rejected) as seen:
            await read(it)

    assert written.value.reason is seen.value.reason is StopReason.TOOL_OUTPUT_INVALID


async def test_an_answer_is_not_unpacked_for_it_could_grow_past_the_limit():
    async with target(says("200 OK", gzip.compress(b"{}"), "Content-Encoding: gzip")) as it:
        with pytest.raises(Rejected) as seen:
            await read(it)

    assert seen.value.reason is StopReason.TOOL_OUTPUT_INVALID


async def test_an_empty_yes_is_a_reply_without_a_body():
    async with target(says("200 OK", b"")) as it:
        reply = await write(it)

    assert reply.body is None


async def test_a_refused_connection_has_done_nothing():
    async with target(says("200 OK")) as it:
        pass

    with pytest.raises(Unavailable):
        await write(it)
    await http.close()


async def test_a_failed_handshake_has_done_nothing():
    async with target(says("200 OK")) as it:
        it.url = it.url.replace("http:", "https:")
        with pytest.raises(Unavailable):
            await write(it)

    assert it.heads == []


async def test_a_name_that_does_not_resolve_has_done_nothing(monkeypatch):
    def resolves_nothing(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolves_nothing)
    wire = Wire("http://desk.invalid")

    with pytest.raises(Unavailable):
        await wire.send("POST", "x", call=a_call(), writes=True, json={})
    await http.close()


async def test_a_write_carries_its_key_and_a_read_carries_none():
    async with target(says("200 OK")) as it:
        await write(it, a_call("run:apply"))
        await read(it)

    assert "Idempotency-Key: run:apply\r\n" in it.heads[0]
    assert "Idempotency-Key" not in it.heads[1]


async def test_an_error_is_one_short_line_without_our_login():
    login = ("triage", SecretStr("s3cret-pass"))

    async def echoes(it: Target, writer: asyncio.StreamWriter) -> None:
        body = f"s3cret-pass\r\n\x1b[31m{it.heads[0]}".encode() + b"x" * 5000
        await says("500 Oh no", body)(it, writer)

    async with target(echoes) as it:
        with pytest.raises(Ambiguous) as caught:
            await Wire(it.url, login=login).send("POST", "x", call=a_call(), writes=True, json={})

    sentence = str(caught.value)
    assert "Authorization: Basic dHJpYWdlOnMzY3JldC1wYXNz" in it.heads[0]
    assert "500 Oh no" in sentence
    assert sentence.isprintable()
    assert len(sentence) < 300
    assert "s3cret-pass" not in sentence
    assert "dHJpYWdl" not in sentence


async def test_an_error_names_the_place_without_what_was_asked_there():
    async with target(says("404 Not Found")) as it:
        with pytest.raises(Rejected, match=rf"^GET {it.url}/x answered 404 Not Found: {{}}\.$"):
            await Wire(it.url).send(
                "GET", "x", call=a_call(), writes=False, query={"external_ref:": "private"}
            )


async def test_a_url_with_a_login_in_it_is_refused():
    with pytest.raises(ValueError, match="apart from the URL"):
        Wire("http://triage:pw@127.0.0.1/")


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("1.5", 1.5),
        ("0", 0),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30),
        ("Thu, 01 Jan 2026 12:00:30 -0000", 30),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0),
        ("Thu, 01 Jan 2099 12:00:00 GMT", RETRY_AFTER_LIMIT_S),
        ("9" * 400, RETRY_AFTER_LIMIT_S),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("²", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_a_bounded_number_of_seconds(header, seconds):
    assert retry_after_s(header, NOON) == seconds


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
async def test_a_target_that_asks_for_patience_is_given_it(status):
    async with target(says(status, b"", "Retry-After: 12")) as it:
        with pytest.raises(Unavailable) as caught:
            await write(it)

    assert caught.value.retry_after_s == 12
