"""Levels of autonomy and dry runs: what a run may do by itself, and who hears of a change when."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import aiohttp
import pytest

from models.autonomy import Autonomy
from models.database import hot
from models.review import Verdict
from models.tenant import create_key
from models.verdict import answer
from producer.client import Client, Refused
from tests import memory_pipelines
from tests.conftest import CATALOGUE, as_if, document, reload, until
from tests.integration.test_api import Api
from tests.service import Shop, serving

CATALOGUE |= memory_pipelines.PIPELINES


@pytest.fixture
async def acme(database: str) -> AsyncIterator[Api]:
    async with serving(database) as url, aiohttp.ClientSession() as session:
        yield Api(url, await create_key("acme"), session)


async def stands(tenant: str, pipeline: str, level: str) -> None:
    """As if it had been set so."""
    await hot().execute(
        "INSERT INTO autonomy VALUES ($1, $2, $3, 'jo', 'a test') ON CONFLICT (tenant, pipeline)"
        " DO UPDATE SET level = EXCLUDED.level",
        tenant, pipeline, level,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "levels", "dry_run", "held"),
    [
        ("{}", "", False, "act"),
        ("{}", "", True, "observe"),
        ("autonomy: {level: reversible}", "", False, "reversible"),
        ("autonomy: {level: reversible}", "acme=act", False, "reversible"),
        ("autonomy: {initial: observe}", "", False, "observe"),
        ("autonomy: {initial: observe}", "acme=reversible", False, "reversible"),
        ("autonomy: {initial: observe}", "*=act", False, "act"),
        ("autonomy: {initial: observe}", "other=act", False, "observe"),
        ("pipelines: {noop: {autonomy: {level: observe}}}", "*=act", False, "observe"),
        ("tenants: {acme: {autonomy: {initial: reversible}}}", "", False, "reversible"),
        ("tenants: {other: {autonomy: {level: observe}}}", "", False, "act"),
        ("{}", "acme=reversible", False, "reversible"),
        ("{}", "acme=reversible", True, "observe"),
        ("{}", "*=observe acme=act", False, "observe"),
        ("{}", "*=act acme=observe", False, "observe"),
        ("{}", "other=observe", False, "act"),
    ],
)
async def test_a_run_has_the_lowest_of_the_policys_level_the_one_that_was_set_and_its_own(
    submit, attempt, governed, policy, levels, dry_run, held
):
    governed(policy)
    for each in levels.split():
        await stands(each.partition("=")[0], "noop", each.partition("=")[2])
    await stands("acme", "five-reads", "observe")
    run = await submit("noop", {"n": 1}, dry_run=dry_run)

    had = await attempt(run)

    row = await reload(run)
    assert (had.autonomy, row["level"]) == (Autonomy(held), held)
    assert row["autonomy"] == ("observe" if dry_run else None)


@pytest.mark.parametrize(("first", "then"), [("act", "observe"), ("observe", "act")])
async def test_a_run_that_comes_back_has_todays_level_and_what_it_had_is_the_lowest(
    submit, attempt, first, then
):
    await stands("acme", "sure-or-ask", first)
    run = await submit("sure-or-ask", {"n": 50})
    await attempt(run)
    parked = await reload(run)
    assert (parked["waiting_for"], parked["level"]) == ("review", first)

    await stands("acme", "sure-or-ask", then)
    await answer(await hot().fetchval("SELECT id FROM review"), Verdict.APPROVED, who="jo")
    held = await attempt(run)

    assert (held.autonomy, (await reload(run))["level"]) == (Autonomy(then), "observe")


async def test_a_dry_run_remembers_nothing_and_its_step_says_so(submit, attempt):
    rows = {}
    for dry_run in (True, False):
        run = await submit("keeper", {"customer": "bob"}, dry_run=dry_run)
        await attempt(run)
        args = "SELECT args FROM ledger_entry WHERE run_id = $1 AND kind = 'remember'"
        told = document(await hot().fetchval(args, run))
        ended = (await reload(run))["stop_reason"]
        kept = await hot().fetchval("SELECT count(*) FROM memory")
        rows[dry_run] = (ended, kept, told.get("withheld", False))

    assert rows == {True: ("success", 0, True), False: ("success", 1, False)}


async def test_a_withheld_memory_is_replayed_by_a_run_that_may_write_now(submit, attempt):
    await stands("*", "keeper", "observe")
    run = await submit("keeper", {"customer": "bob"})
    await attempt(run)
    await stands("*", "keeper", "act")
    await as_if(
        "UPDATE run SET status = 'queued', stop_reason = NULL, finished_at = NULL, result = NULL,"
        " dispatch_at = now() WHERE id = $1",
        run,
    )
    held = await attempt(run)

    row = await reload(run)
    assert (held.autonomy, row["attempt"], row["stop_reason"]) == (Autonomy.ACT, 2, "success")
    assert await hot().fetchval("SELECT count(*) FROM memory") == 0


async def test_a_dry_run_and_the_other_are_two_payloads_of_one_key(acme, attempt):
    _, dry, _ = await acme.submit("order 1", dry_run=True)
    _, wet, _ = await acme.submit("order 2")
    _, same, _ = await acme.submit("order 1", dry_run=True)
    _, plain, _ = await acme.submit("order 2", dry_run=False)
    assert (same["run_id"], plain["run_id"]) == (dry["run_id"], wet["run_id"])

    for key, more in (("order 1", {}), ("order 2", {"dry_run": True})):
        status, told, _ = await acme.submit(key, **more)
        assert (status, told["code"]) == (422, "key_reused")
        assert told["detail"].endswith("what differs: dry_run")

    await attempt((await reload(dry["run_id"]))["id"])
    shown = {}
    for each in (dry, wet):
        _, run, _ = await acme("GET", f"/v1/runs/{each['run_id']}")
        shown[each["run_id"]] = (run["dry_run"], run["autonomy"])
    assert shown == {dry["run_id"]: (True, "observe"), wet["run_id"]: (False, None)}


@pytest.mark.parametrize("said", ["yes", "true", 1, 0, None, []])
async def test_what_is_neither_true_nor_false_is_no_dry_run_and_no_other_run_either(acme, said):
    status, told, _ = await acme.submit("order 1", dry_run=said)

    assert (status, told["pointer"]) == (400, "/dry_run")
    assert await hot().fetchval("SELECT count(*) FROM run") == 0


async def test_many_at_once_are_each_as_they_were_asked_for(acme):
    requests = [
        {"pipeline": "noop", "input": {"n": n}, "idempotency_key": f"k{n}", "dry_run": n == 1}
        for n in range(3)
    ]
    await acme("POST", "/v1/runs/bulk", {"requests": requests})

    rows = await hot().fetch("SELECT key, autonomy FROM run ORDER BY key")
    assert [tuple(row) for row in rows] == [("k0", None), ("k1", "observe"), ("k2", None)]


async def test_the_client_and_the_command_ask_for_dry_runs_and_show_them(acme, sluice, attempt):
    async with Client(acme.url, acme.key) as client:
        receipt = await client.submit("noop", {"n": 1}, key="order 1", dry_run=True)
        with pytest.raises(Refused, match="dry_run"):
            await client.submit("noop", {"n": 1}, key="order 1")
    asked = await sluice("submit", "noop", '{"n": 1}', "--key", "k", "--dry-run")
    await attempt((await reload(receipt.run_id))["id"])

    assert asked.code == 0
    for key in ("order 1", "k"):
        assert "a dry run: nothing is written" in (await sluice("show", key)).out
    rows = await hot().fetch("SELECT autonomy FROM run")
    assert [row[0] for row in rows] == ["observe", "observe"]


async def test_a_running_fleet_hears_of_a_lowered_level_and_runs_in_hand_do_as_well(
    fleet, redis_url, sluice
):
    queue = f"submissions-{uuid4()}"
    shop = Shop(redis_url, await create_key("acme"), queue=queue)
    other = Shop(redis_url, await create_key("other"), queue=queue)
    fleet.workers(1, BROKER__SUBMISSIONS=queue, WORKER__HEARTBEAT_S="0.5")
    shop.send(
        shop.fields("long", pipeline="wait", input={"seconds": 25}),
        shop.fields("before"),
        shop.fields("dry", dry_run=True),
    )
    for key in ("before", "dry"):
        await until(lambda key=key: level_of(key))
    await until(lambda: hot().fetchval("SELECT 1 FROM run WHERE key = 'long' AND attempt = 1"))

    for pipeline in ("noop", "wait"):
        words = ("set", pipeline, "observe", "--tenant", "acme", "--because", "a doubt")
        assert (await sluice("autonomy", *words)).code == 0
    await asyncio.sleep(1.5)
    shop.send(shop.fields("after"))
    other.send(other.fields("others", tenant="other"))
    await sluice("cancel", "long")

    for key in ("after", "others", "long"):
        await until(lambda key=key: level_of(key))
    assert {key: await level_of(key) for key in ("before", "dry", "after", "long", "others")} == {
        "before": "act", "dry": "observe", "after": "observe", "long": "observe", "others": "act",
    }  # fmt: skip


async def level_of(key: str) -> str | None:
    return await hot().fetchval("SELECT level FROM run WHERE key = $1", key)


async def test_a_tenant_sees_what_holds_for_itself_and_an_operator_who_set_it(acme):
    ops = Api(acme.url, await create_key("ops", operator=True), acme.session)
    stranger = Api(acme.url, await create_key("other"), acme.session)
    nobody = Api(acme.url, None, acme.session)
    await stands("acme", "noop", "observe")
    await stands("*", "five-reads", "reversible")

    answers = [(await each("GET", "/v1/autonomy"))[:2] for each in (acme, stranger, ops, nobody)]

    (_, mine), (_, others), (_, all_), (status, _) = answers
    assert status == 401
    assert (mine["holds"]["noop"], mine["holds"]["five-reads"]) == ("observe", "reversible")
    assert (others["holds"]["noop"], others["holds"]["five-reads"]) == ("act", "reversible")
    assert "levels" not in mine | others
    assert [(each["tenant"], each["pipeline"], each["who"]) for each in all_["levels"]] == [
        ("*", "five-reads", "jo"),
        ("acme", "noop", "jo"),
    ]
