"""Snapshots: what a write will change is kept first, once, and given to what takes it back."""

import pytest

from config.policy import Policy
from models.database import hot
from models.fork import Fork, fork
from models.review import Verdict
from models.run import StopReason
from models.verdict import answer
from tests import snapshot_pipelines
from tests.conftest import CATALOGUE, expire_lease, reload, sweep
from tests.snapshot_pipelines import KEPT, SHELF
from tools.tool import Effect, Rejected, Snapshot, Undo, tool
from worker import use
from worker.check import check

CATALOGUE |= snapshot_pipelines.PIPELINES
BACK = [
    ("look", "settled"),
    ("put/snapshot", "settled"),
    ("put", "undone"),
    ("check", "rejected"),
    ("undo/put", "settled"),
]


@pytest.fixture(autouse=True)
def shelf():
    SHELF.clear()
    KEPT.clear()
    SHELF["n"] = 7


async def steps():
    rows = await hot().fetch("SELECT step, state FROM ledger_entry ORDER BY number")
    return [tuple(row) for row in rows]


async def test_what_stood_there_is_kept_before_the_write_and_given_to_the_undo(
    submit, attempt, world
):
    run = await submit("keeps", {"n": 1})
    world.breaks("shelf.check", Rejected("it does not hold"))

    await attempt(run)

    assert (await reload(run))["stop_reason"] == "success"
    assert await steps() == BACK
    assert SHELF == {"n": 7}
    assert [name for name, _ in world.calls if name != "shelf.look"] == [
        "shelf.keep", "shelf.put", "shelf.check", "shelf.restore",
    ]  # fmt: skip


@pytest.mark.parametrize("fails_at", range(1, 6))
async def test_a_worker_that_dies_around_a_snapshot_leaves_one_snapshot_and_one_write(
    submit, attempt, world, monkeypatch, fails_at
):
    """The crash comes with the n-th call: the call is done, and its answer is lost."""
    run = await submit("keeps", {"n": 1})
    world.breaks("shelf.check", Rejected("it does not hold"))
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

    assert await steps() == BACK
    assert (await reload(run))["stop_reason"] == "success"
    assert (SHELF, list(KEPT.values())) == ({"n": 7}, [7])


async def test_a_write_whose_snapshot_failed_is_not_made(submit, attempt, world):
    run = await submit("keeps", {"n": 1})
    world.breaks("shelf.keep", Rejected("there is no room"))

    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], row["detail"]) == ("tool_failed", "there is no room")
    assert (world.count("shelf.put"), SHELF) == (0, {"n": 7})


async def test_that_failure_is_the_writes_on_every_replay(submit, attempt, world, monkeypatch):
    """Also where the snapshot could be taken by now."""
    run = await submit("keeps", {"n": 1, "forgiving": True})
    world.breaks("shelf.keep", Rejected("there is no room"))

    async def dies(tool_, args, call):
        if getattr(args, "n", 0) == 1 and tool_.name == "shelf.look":
            monkeypatch.setattr(use, "invoke", world)
            await hot().execute("UPDATE run SET attempt = attempt + 1, worker = gen_random_uuid()")
        return await world(tool_, args, call)

    monkeypatch.setattr(use, "invoke", dies)
    await attempt(run)
    await expire_lease(run)
    await sweep()
    await attempt(run)

    assert (await reload(run))["stop_reason"] == "success"
    assert (world.count("shelf.keep"), world.count("shelf.put")) == (1, 0)
    assert [step for step, _ in await steps()] == ["look", "put/snapshot", "look-again"]


async def test_a_gate_shut_between_snapshot_and_write_holds_the_write_back(
    submit, attempt, world, monkeypatch
):
    run = await submit("keeps", {"n": 1})

    async def shuts(tool_, args, call):
        result = await world(tool_, args, call)
        if tool_.name == "shelf.keep":
            await hot().execute("UPDATE gate SET mode = 'read_only' WHERE scope = 'fleet'")
        return result

    monkeypatch.setattr(use, "invoke", shuts)
    await attempt(run)
    row = await reload(run)
    assert (row["status"], row["waiting_for"], SHELF) == ("waiting", "gate", {"n": 7})

    monkeypatch.setattr(use, "invoke", world)
    await hot().execute("UPDATE gate SET mode = 'open' WHERE scope = 'fleet'")
    await hot().execute("UPDATE run SET status = 'queued', waiting_for = NULL, dispatch_at = now()")
    await attempt(run)

    assert (await reload(run))["stop_reason"] == "success"
    assert (world.count("shelf.keep"), world.count("shelf.put")) == (1, 1)
    assert SHELF == {"n": 1}


@pytest.mark.parametrize("verdict", [Verdict.APPROVED, Verdict.REJECTED])
async def test_a_call_that_waits_for_a_person_keeps_nothing_before_they_have_said_yes(
    submit, attempt, governed, verdict
):
    governed("tools: {approvals: {'shelf.put': always}}")
    run = await submit("keeps", {"n": 1})
    await attempt(run)
    assert ((await reload(run))["waiting_for"], KEPT) == ("review", {})
    SHELF["n"] = 8

    await answer(await hot().fetchval("SELECT id FROM review"), verdict, who="jo")
    await attempt(run)

    approved = verdict is Verdict.APPROVED
    assert list(KEPT.values()) == ([8] if approved else [])
    assert {"n": 1 if approved else 8} == SHELF
    assert (await reload(run))["stop_reason"] == ("success" if approved else "review_rejected")


async def test_without_a_snapshot_to_go_back_to_nothing_is_taken_back(
    submit, attempt, world, monkeypatch
):
    run = await submit("keeps", {"n": 1})

    async def loses_it(tool_, args, call):
        if tool_.name == "shelf.check":
            await hot().execute("DELETE FROM ledger_entry WHERE step = 'put/snapshot'")
            raise Rejected("it does not hold")
        return await world(tool_, args, call)

    monkeypatch.setattr(use, "invoke", loses_it)
    await attempt(run)

    row = await reload(run)
    assert row["stop_reason"] == StopReason.TOOL_DENIED
    assert "no snapshot to go back to, so nothing was rolled back" in row["detail"]
    assert SHELF == {"n": 1}


async def test_a_pipeline_that_does_not_declare_the_snapshots_tool_makes_no_write(
    submit, attempt, world
):
    run = await submit("keeps-nothing", {"n": 1})

    await attempt(run)

    assert (await reload(run))["stop_reason"] == StopReason.TOOL_DENIED
    assert (world.count("shelf.put"), KEPT) == (0, {})


def test_sluice_check_says_that_it_is_not_declared():
    told = {
        each.about: each.told
        for each in check(snapshot_pipelines.PIPELINES, [], Policy(), "test")
        if each.rule == "undeclared"
    }

    assert list(told) == ["keeps-nothing v1"]
    assert "shelf.keep take a snapshot first" in told["keeps-nothing v1"]


def test_what_destroys_is_no_snapshot():
    @tool("shelf.burn", effect=Effect.DESTRUCTIVE, timeout_s=1)
    async def burn(
        args: snapshot_pipelines.N, call: snapshot_pipelines.Call
    ) -> snapshot_pipelines.N:
        return args

    undo = Undo(snapshot_pipelines.restore, lambda *_: {}, snapshot=Snapshot(burn, lambda _: {}))
    with pytest.raises(TypeError, match="what destroys is no snapshot"):
        tool("shelf.odd", effect=Effect.WRITE, timeout_s=1, key_kept_for_s=1, undo=undo)(
            snapshot_pipelines.put.run
        )


async def test_a_fork_of_a_write_keeps_anew_what_stands_there_now(submit, attempt, world):
    """By the source's snapshot, a roll-back of the fork would take the source's write back."""
    source = await submit("keeps", {"n": 1})
    await attempt(source)
    assert SHELF == {"n": 1}
    world.breaks("shelf.check", Rejected("it does not hold"))
    more = {"input": {"n": 2}, "writes_again": True}

    receipt = await fork(Fork(source, "put", "again", "ada", **more))
    await attempt(receipt.run_id)

    assert (await reload(receipt.run_id))["stop_reason"] == "success"
    assert sorted(KEPT.values()) == [1, 7]
    assert SHELF == {"n": 1}
