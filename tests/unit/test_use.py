"""One tool, asked once: what answers at once needs no watch, and what waits is watched."""

import asyncio
import time
from uuid import UUID

import pytest

from tests.pipelines import Value
from tools.tool import Ambiguous, Call, Effect, Unavailable, tool
from worker.use import in_time


def a_call(lasts_s=5.0):
    return Call(UUID(int=1), "acme", "step", "key", time.monotonic() + lasts_s)


def made(run, effect=Effect.READ):
    return tool("probe.made", effect=effect, timeout_s=5, key_kept_for_s=9)(run)


async def test_a_tool_that_waits_several_times_is_heard_to_its_end():
    async def run(args: Value, call: Call) -> Value:
        for _ in range(3):
            await asyncio.sleep(0.001)
            await asyncio.sleep(0)
        return args

    assert await in_time(made(run), Value(n=3), a_call(), 5) == Value(n=3)


async def test_a_tool_hears_what_it_waited_for_and_what_went_wrong_with_it():
    async def run(args: Value, call: Call) -> Value:
        loop = asyncio.get_running_loop()
        good, bad = loop.create_future(), loop.create_future()
        loop.call_soon(good.set_result, 7)
        loop.call_soon(bad.set_exception, KeyError("x"))
        try:
            await bad
        except KeyError:
            return Value(n=await good)
        return args

    assert await in_time(made(run), Value(n=3), a_call(), 5) == Value(n=7)


@pytest.mark.parametrize(("effect", "error"), [
    (Effect.READ, Unavailable),
    (Effect.WRITE, Ambiguous),
])  # fmt: skip
async def test_a_tool_that_waits_too_long_is_called_off_and_may_clean_up(effect, error):
    cleaned = []

    async def run(args: Value, call: Call) -> Value:
        try:
            await asyncio.sleep(9)
        finally:
            await asyncio.sleep(0)
            cleaned.append(1)
        return args

    with pytest.raises(error, match=r"within 0\.05 s"):
        await in_time(made(run, effect), Value(n=3), a_call(0.05), 0.05)

    assert cleaned


async def test_a_tools_own_time_out_before_its_first_wait_is_one_all_the_same():
    async def run(args: Value, call: Call) -> Value:
        raise TimeoutError

    with pytest.raises(Unavailable):
        await in_time(made(run), Value(n=3), a_call(), 5)


async def test_a_call_that_is_called_off_reaches_the_tool():
    heard = []

    async def run(args: Value, call: Call) -> Value:
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError:
            heard.append(1)
            raise
        return args

    calling = asyncio.create_task(in_time(made(run), Value(n=3), a_call(), 5))
    await asyncio.sleep(0.01)
    calling.cancel()

    with pytest.raises(asyncio.CancelledError):
        await calling
    assert heard
