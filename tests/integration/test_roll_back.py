"""Rolling back: writes are taken back in reverse, each once, whatever happens to the worker."""

import pytest

from models.database import hot
from models.run import StopReason
from tests.conftest import document, expire_lease, reload, sweep
from tests.pipelines import SHELF, destroy, put, read
from tools.tool import Effect, Rejected, Undo, tool
from worker import use


@pytest.fixture(autouse=True)
def empty_shelf():
    SHELF.clear()


async def steps():
    rows = await hot().fetch("SELECT step, state FROM ledger_entry ORDER BY number")
    return [tuple(row) for row in rows]


DONE = [
    ("put-0", "settled"),
    ("put-1", "undone"),
    ("put-2", "undone"),
    ("check", "rejected"),
    ("undo/put-2", "settled"),
    ("undo/put-1", "settled"),
]


async def test_writes_after_a_step_are_taken_back_the_last_one_first_over_the_ceiling(
    submit, attempt, world
):
    run = await submit("put-or-undo", {"n": 7})
    world.breaks("probe.read", Rejected("it does not fit"))

    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], document(row["result"])) == ("success", {"n": 7})
    assert await steps() == DONE
    assert {0} == SHELF
    assert row["steps"] == len(DONE), "an undo is counted, and not refused"


@pytest.mark.parametrize("fails_at", range(1, 8))
async def test_a_worker_that_dies_while_it_rolls_back_leaves_the_rest_to_the_next(
    submit, attempt, world, monkeypatch, fails_at
):
    """The crash comes with the n-th call; every call before it is done, and stays done."""
    run = await submit("put-or-undo", {"n": 7})
    world.breaks("probe.read", Rejected("it does not fit"))
    calls = 0

    async def dies(tool_, args, call):
        nonlocal calls
        calls += 1
        result = await world(tool_, args, call)
        if calls == fails_at:
            await hot().execute("UPDATE run SET attempt = attempt + 1, worker = gen_random_uuid()")
        return result

    monkeypatch.setattr(use, "invoke", dies)
    await attempt(run)
    if (await reload(run))["status"] == "running":
        await expire_lease(run)
        await sweep()
        await attempt(run)

    assert await steps() == DONE
    assert {0} == SHELF
    assert (await reload(run))["stop_reason"] == "success"
    assert world.count("probe.put") <= 4


async def test_nothing_is_taken_back_when_something_cannot_be(submit, attempt, world):
    run = await submit("pay-or-undo", {"n": 1})

    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], row["detail"]) == (
        StopReason.TOOL_DENIED,
        "probe.pay cannot be undone, so nothing was rolled back",
    )
    assert {1} == SHELF


@pytest.mark.parametrize("undo", [read, destroy])
def test_only_a_write_is_undone_and_only_by_a_write(undo):
    with pytest.raises(TypeError, match="only a write can be undone"):

        @tool(
            "probe.odd",
            effect=Effect.WRITE,
            timeout_s=1,
            key_kept_for_s=1,
            undo=Undo(undo, lambda asked, got: {}),
        )
        async def odd(args: put.takes, call: object) -> put.gives:
            return args
