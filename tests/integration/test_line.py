"""How requests leave: in time or not at all, and a write once for each call."""

import asyncio
import os
import socket
import time
from time import monotonic

import pytest

from models.run import StopReason
from tests.target import a_call, answers_once_and_then_hangs_up, read, says, target, write
from tools import http, line
from tools.http import Wire
from tools.tool import Ambiguous, Unavailable


async def test_a_write_that_cannot_connect_gives_up_when_it_may_no_longer_leave():
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = [socket.socket() for _ in range(3)]
    for each in waiting:
        each.setblocking(False)  # noqa: FBT003  # the socket's own signature
        each.connect_ex(full.getsockname())
    wire = Wire(f"http://127.0.0.1:{full.getsockname()[1]}")
    started = monotonic()

    with pytest.raises(Unavailable) as caught:
        await wire.send(
            "POST", "x", call=a_call(lasts_s=3, leaves_within_s=0.3), writes=True, json={}
        )

    assert 0.3 <= monotonic() - started < 1
    assert caught.value.reason is StopReason.TOOL_TIMEOUT
    await http.close()
    for each in [full, *waiting]:
        each.close()


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_write_whose_time_passed_with_a_connection_in_hand_does_not_leave(method):
    async with target(says("200 OK")) as it:
        await write(it, a_call("first"))
        asyncio.get_running_loop().call_soon(time.sleep, 0.2)  # the whole process stalls

        with pytest.raises(Unavailable) as caught:
            await write(it, a_call("second", leaves_within_s=0.1), method)

        await asyncio.sleep(0.05)
        assert len(it.heads) == 1
        assert caught.value.reason is StopReason.TOOL_TIMEOUT
        assert (await write(it, a_call("third"))).status == 200


async def test_a_read_may_leave_after_send_before():
    async with target(says("200 OK")) as it:
        reply = await read(it, a_call(leaves_within_s=-1))

    assert reply.status == 200


@pytest.mark.parametrize("writes", [True, False])
async def test_nothing_leaves_past_its_deadline(writes):
    async with target(says("200 OK")) as it:
        with pytest.raises(Unavailable):
            await (write if writes else read)(it, a_call(lasts_s=-0.1))

    assert it.connections == 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_a_write_on_a_kept_connection_that_breaks_is_not_sent_again(method):
    async with target(answers_once_and_then_hangs_up) as it:
        await write(it, a_call("first"))
        with pytest.raises(Ambiguous):
            await write(it, a_call("second"), method)

    assert it.lines == ["POST /x", f"{method} /x"]
    assert it.connections == 1


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_second_write_for_one_call_is_a_bug_and_does_not_leave(method):
    async with target(says("200 OK")) as it:
        call = a_call()
        await write(it, call, method)
        with pytest.raises(RuntimeError, match="run:step wrote already"):
            await write(it, call, method)
        await read(it, call)

    assert it.lines == [f"{method} /x", "GET /x"]


@pytest.mark.parametrize("answer", ["503 Service Unavailable", "404 Not Found", "late"])
async def test_once_a_call_has_written_no_later_refusal_says_that_nothing_happened(answer):
    async with target(says("200 OK")) as it:
        call = a_call(leaves_within_s=0.3)
        await write(it, call)
        if answer == "late":
            await asyncio.sleep(0.3)
            asked = write(it, call)
        else:
            it.answer = says(answer)
            asked = read(it, call)

        with pytest.raises(Ambiguous, match="An earlier request of the same call had left"):
            await asked


async def test_a_try_that_never_left_has_not_used_up_its_call():
    async with target(says("200 OK")) as it:
        call, url = a_call(), it.url
        it.url = url.replace("http:", "https:")
        with pytest.raises(Unavailable):
            await write(it, call)
        it.url = url

        assert (await write(it, call)).status == 200


async def test_calls_past_their_deadline_are_forgotten():
    async with target(says("200 OK")) as it:
        for number in range(20):
            await write(it, a_call(f"run:{number}", lasts_s=0.1, leaves_within_s=0.1))
        await asyncio.sleep(0.11)
        await write(it, a_call("last"))

        assert [call.key for call in line.line().written] == ["last"]


async def test_one_tenants_cookie_is_not_shown_by_the_next():
    async with target(says("200 OK", b"{}", "Set-Cookie: session=acme; Path=/")) as it:
        it.url = it.url.replace("127.0.0.1", "localhost")  # numbers are given no cookies at all
        await read(it)
        await read(it)

    assert "Cookie" not in it.heads[1]


async def test_each_event_loop_has_connections_of_its_own():
    async with target(says("200 OK")) as it:

        async def twice() -> None:
            await read(it)
            await read(it)
            await http.close()

        await read(it)
        await asyncio.to_thread(asyncio.run, twice())
        await read(it)

    assert (it.connections, len(it.heads)) == (2, 4)


async def test_a_fork_does_not_speak_on_its_parents_connections(monkeypatch):
    async with target(says("200 OK")) as it:
        await read(it)
        with monkeypatch.context() as child:
            child.setattr(os, "getpid", lambda: 1)
            await read(it)
            await http.close()
        await read(it)

    assert it.connections == 2
