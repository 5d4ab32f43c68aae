"""Many callers, one statement."""

import asyncio

import pytest

from models.batcher import Batcher, DatabaseAway


async def test_callers_of_one_moment_share_a_flush_and_the_next_one_fills_meanwhile():
    flushes = []

    async def verb(members):
        flushes.append(list(members))
        await asyncio.sleep(0.01)
        return [10 * each for each in members]

    batch = Batcher(verb)
    first = asyncio.gather(*(batch(i) for i in range(3)))
    await asyncio.sleep(0.005)
    second = asyncio.gather(*(batch(i) for i in range(3, 8)))

    assert await first == [0, 10, 20]
    assert await second == [30, 40, 50, 60, 70]
    assert flushes == [[0, 1, 2], [3, 4, 5, 6, 7]]


async def test_only_the_culprits_caller_sees_the_error():
    async def verb(members):
        if 5 in members:
            raise ValueError("five")
        return members

    batch = Batcher(verb)

    results = await asyncio.gather(*(batch(i) for i in range(9)), return_exceptions=True)

    assert [each for each in results if not isinstance(each, ValueError)] == [
        0,
        1,
        2,
        3,
        4,
        6,
        7,
        8,
    ]
    assert isinstance(results[5], ValueError)


async def test_one_members_outcome_may_be_an_exception():
    async def verb(members):
        return [KeyError("one") if each == 1 else each for each in members]

    batch = Batcher(verb)

    results = await asyncio.gather(*(batch(i) for i in range(3)), return_exceptions=True)

    assert (results[0], results[2]) == (0, 2)
    assert isinstance(results[1], KeyError)


async def test_a_transient_error_repeats_the_whole_batch():
    tries = []

    async def verb(members):
        tries.append(list(members))
        if len(tries) < 3:
            raise ConnectionResetError
        return members

    batch = Batcher(verb)

    assert await asyncio.gather(batch(1), batch(2)) == [1, 2]
    assert tries == [[1, 2]] * 3


async def test_patience_ends_and_everybody_is_told():
    async def verb(members):
        raise ConnectionRefusedError

    batch = Batcher(verb, patience_s=0.05)

    results = await asyncio.gather(batch(1), batch(2), return_exceptions=True)

    assert [type(each) for each in results] == [DatabaseAway, DatabaseAway]


async def test_a_caller_that_has_gone_asks_for_nothing_any_more():
    flushes = []
    free = asyncio.Event()

    async def verb(members):
        flushes.append(list(members))
        await free.wait()
        return members

    batch = Batcher(verb)
    kept = asyncio.ensure_future(batch("kept"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gone = asyncio.ensure_future(batch("gone"))
    await asyncio.sleep(0)
    gone.cancel()
    free.set()

    assert await kept == "kept"
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert flushes == [["kept"]]


async def test_a_batch_is_never_larger_than_its_limit():
    sizes = []

    async def verb(members):
        sizes.append(len(members))
        return members

    batch = Batcher(verb, limit=4)

    await asyncio.gather(*(batch(i) for i in range(10)))

    assert sizes == [4, 4, 2]
