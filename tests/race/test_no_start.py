"""What might start a write behind the operator's back, one at a time, and does not."""

import asyncio
import dataclasses
import signal
import socket
from contextlib import suppress
from time import monotonic
from typing import Any

import pytest

from models.database import close_database, hot, open_database
from models.gate import GateMode, flip
from models.scope import FLEET
from models.standstill import Standstill, stopped
from tests import target as targets
from tests.conftest import Fleet, finished, until
from tests.desk import started_desk
from tests.proxy import proxied
from tests.race import arena as arenas
from tests.race.writer import TOOL, blind_gateway, held, writing
from tools import http
from worker.outcome import GateShut


async def shut() -> Standstill:
    """What an operator does, and is told: from here on no write may start."""
    await flip(FLEET, GateMode.READ_ONLY, who="ada", reason="a test")
    return await stopped(FLEET, monotonic())


async def calling(tool: Any) -> "asyncio.Task[Any]":
    """A call of this tool, by a worker that never hears of the gate but from its intents."""
    (run,) = await arenas.runs(1)
    order = {"step": "s", "number": 1, "allowed": {TOOL: tool}}
    return asyncio.create_task(blind_gateway().call(held(run), tool, {"text": "x"}, **order))


async def test_a_write_that_is_tried_again_in_place_is_not_after_stopped(database):
    async with targets.target(targets.says("503 Busy", b"{}", "Retry-After: 0")) as it:
        tool = dataclasses.replace(writing(it.url, 0), retries=1000)
        call = await calling(tool)
        await until(lambda: _reached(it))
        await shut()
        reached = len(it.heads)

        with pytest.raises(GateShut):
            await call
        assert len(it.heads) == reached


async def test_a_write_whose_connection_hangs_does_not_leave_when_it_comes_about(database):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        fillers = [_knock(address) for _ in range(4)]  # from now on nobody gets in
        call = await calling(writing(f"http://127.0.0.1:{address[1]}", 0))
        await until(_an_intent)
        await shut()

        for each in fillers:
            each.close()
        assert await _heard(listener) == b""
        with pytest.raises(GateShut):
            await call
    await http.close()


async def test_a_second_write_in_one_call_does_not_leave_after_stopped(database):
    may_answer = asyncio.Event()

    async def answers_later(it: targets.Target, writer: asyncio.StreamWriter) -> None:
        await may_answer.wait()
        await targets.says("200 OK")(it, writer)

    async with targets.target(answers_later) as it:
        first = writing(it.url, 0)

        async def twice(args: Any, call: Any) -> Any:
            await first.run(args, call)
            return await first.run(args, call)

        call = await calling(dataclasses.replace(first, run=twice))
        await until(lambda: _reached(it))
        await shut()
        may_answer.set()

        with pytest.raises((GateShut, RuntimeError)):
            await call
        assert len(it.heads) == 1


async def test_a_worker_stopped_between_intent_and_request_sends_nothing_when_it_goes_on(
    fleet: Fleet, submit, tmp_path
):
    catalogues = '["tests.race.slow_hand"]'
    with started_desk(tmp_path / "desk") as desk:
        fleet.start("worker", WORKER__CATALOGUES=catalogues, TEST_DESK_URL=desk.url)
        await until(_is_offered)
        for number in range(5):
            await submit("hesitate", {"ref": f"R-{number}"})
        await until(_an_intent)
        fleet.processes[0].send_signal(signal.SIGSTOP)
        said = await shut()
        left = len(desk.record.requests())
        fleet.processes[0].send_signal(signal.SIGCONT)
        await until(_all_parked)

        assert said.may_travel > 0  # they were caught in the act
        assert len(desk.record.requests()) == left
        await flip(FLEET, GateMode.OPEN, who="ada", reason="a test")
        await until(lambda: finished(5))
        assert desk.record.effects() == {f"R-{number}": 1 for number in range(5)}


async def test_an_operator_whose_flip_was_committed_and_not_answered_asks_again(database, tmp_path):
    async with (
        arenas.arena(database, tmp_path / "arena", "safe", writers=2) as it,
        proxied(database, tmp_path) as (proxy, url),
    ):
        await open_database(url, connections=2)
        try:
            proxy.lose_answer_to = b"COMMIT"
            with pytest.raises(Exception, match="connection"):  # asyncpg has several for it
                await shut()
            again = await flip(FLEET, GateMode.READ_ONLY, who="ada", reason="a test")
            flipped = monotonic()
            at_flip = await it.intents()
            await stopped(FLEET, flipped)
            at_stop, reached = await it.intents(), len(it.arrivals)
            await asyncio.sleep(0.2)

            assert (proxy.lost, again.changed) == (1, False)
            assert await it.intents() == at_stop == at_flip
            assert len(it.arrivals) == reached
        finally:
            await close_database()


async def _reached(it: targets.Target) -> bool:
    return bool(it.heads)


async def _an_intent() -> bool:
    return bool(await hot().fetchval("SELECT EXISTS (SELECT FROM ledger_entry)"))


async def _is_offered() -> bool:
    return bool(
        await hot().fetchval("SELECT EXISTS (SELECT FROM contract WHERE name = 'hesitate')")
    )


async def _all_parked() -> bool:
    return bool(await hot().fetchval("SELECT bool_and(waiting_for = 'gate') FROM run"))


def _knock(address: Any) -> socket.socket:
    knocking = socket.socket()
    knocking.settimeout(0)
    with suppress(BlockingIOError):
        knocking.connect(address)
    return knocking


async def _heard(listener: socket.socket) -> bytes:
    """What is said by all who are let in now; who was turned away knocks again for 2 s."""
    listener.settimeout(0)
    heard, until_s = b"", monotonic() + 2.5
    while monotonic() < until_s:
        with suppress(BlockingIOError):
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(0.05)
                with suppress(TimeoutError):
                    heard += connection.recv(1000)
        await asyncio.sleep(0.05)
    return heard
