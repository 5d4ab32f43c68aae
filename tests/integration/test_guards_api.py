"""Whether the guards are proven, and the fleet's figures: who is told what, and what it costs."""

import re
from collections.abc import AsyncIterator
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from config.settings import ApiSettings, Settings
from models import count
from models.database import hot
from models.guard import Guard, tried
from models.tenant import create_key
from producer.app import api as application
from tests.integration.test_api import Api
from tests.service import serving

LINE = re.compile(r'([a-z_]+)\{([a-z_]+)="([a-z_]+)"\} (\d+(?:\.\d+)?)')


@pytest.fixture
async def ops(database: str) -> AsyncIterator[Api]:
    """With the key of an operator."""
    own = ApiSettings(guards_proven_within_s=3600)
    async with serving(database, api=own) as url, aiohttp.ClientSession() as session:
        yield Api(url, await create_key("ops", operator=True), session)


@pytest.fixture
async def proven() -> None:
    await hot().execute("DELETE FROM guard")
    await tried([(guard, True, "as it should be") for guard in Guard])


async def figures(ops: Api) -> dict[tuple[str, str], float]:
    """Every number of a scrape; each line that is no comment must be one."""
    status, told, headers = await ops("GET", "/metrics")
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    lines = [each for each in told.decode().splitlines() if not each.startswith("#")]
    found = [LINE.fullmatch(each) for each in lines]
    assert all(found), lines
    return {(name, value): float(number) for name, _, value, number in (m.groups() for m in found)}


async def test_it_is_well_when_each_guard_was_proven_lately(ops, proven):
    status, told, _ = await ops("GET", "/healthz/guards")

    assert (status, told["proven"], told["reasons"]) == (200, True, [])
    assert set(told["guards"]) == set(Guard)
    assert told["guards"]["gate"] | {"proven_at": None} == {
        "proven": True, "proven_at": None, "refused": 0, "last_at": None, "told": "as it should be",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        ("DELETE FROM guard WHERE name = 'gate'", "gate: never tried: sluice guards verify"),
        ("UPDATE guard SET proven = false, told = 'no' WHERE name = 'gate'",
         "gate: tried, and not proven: no"),
        ("UPDATE guard SET proven_at = now() - interval '61 min' WHERE name = 'gate'",
         "gate: last proven 1.0 h ago: sluice guards verify"),
        ("UPDATE guard SET proven_at = NULL, proven = NULL, refused = 7 WHERE name = 'gate'",
         "gate: never tried: sluice guards verify"),
    ],
)  # fmt: skip
async def test_one_guard_that_is_not_proven_makes_it_ill_and_says_why(ops, proven, spoilt, why):
    await hot().execute(spoilt)

    status, told, _ = await ops("GET", "/healthz/guards")

    assert (status, told["proven"], told["reasons"]) == (503, False, [why])
    assert told["guards"]["gate"]["proven"] is False


async def test_whoever_is_no_operator_hears_the_verdict_and_nothing_else(ops, proven):
    stranger = Api(ops.url, None, ops.session)
    acme = Api(ops.url, await create_key("acme"), ops.session)
    nobody = Api(ops.url, "slk_" + "0" * 16 + "_" + "x" * 43, ops.session)

    well = [(await each("GET", "/healthz/guards"))[:2] for each in (stranger, acme)]
    await hot().execute("DELETE FROM guard")
    ill = [(await each("GET", "/healthz/guards"))[:2] for each in (stranger, acme)]

    assert well == [(200, {"proven": True})] * 2
    assert ill == [(503, {"proven": False})] * 2
    assert (await nobody("GET", "/healthz/guards"))[0] == 401
    assert [(await each("GET", "/metrics"))[0] for each in (stranger, acme)] == [401, 403]


async def test_on_the_socket_of_our_own_folder_no_key_is_needed(database, proven):
    own, path = Settings(database_url=SecretStr(database)), f"/tmp/{uuid4().hex[:8]}.sock"  # noqa: S108  # short
    async with application(own, database_url=database, broker_url=None) as app:
        runner = web.AppRunner(app)
        await runner.setup()
        await web.UnixSite(runner, path).start()
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session:
            local = Api("http://sluice", None, session)
            status, told, _ = await local("GET", "/healthz/guards")
            found = await figures(local)
        await runner.cleanup()

    assert (status, set(told["guards"])) == (200, set(Guard))
    assert found["sluice_guard_proven", "gate"] == 1


async def test_the_metrics_name_every_guard_and_every_unfinished_status(ops, submit):
    await submit("noop", {"n": 1})
    await tried([(Guard.GATE, True, ""), (Guard.RATE, False, "no")])
    await hot().execute("UPDATE guard SET refused = 7 WHERE name = 'gate'")

    found = await figures(ops)

    assert {(n, v): found[n, v] for n, v in found if n == "sluice_guard_refusals_total"} == {
        ("sluice_guard_refusals_total", guard): 7 * (guard is Guard.GATE) for guard in Guard
    }
    assert [v for (n, v), one in found.items() if n == "sluice_guard_proven" and one] == ["gate"]
    assert ("sluice_guard_last_tried_timestamp_seconds", "rate") in found
    runs = {v: number for (n, v), number in found.items() if n == "sluice_runs"}
    assert runs == {"queued": 1, "running": 0, "waiting": 0}


async def test_stops_that_page_are_counted_for_an_hour(ops, submit):
    run, old = await submit("noop", {"n": 1}), await submit("noop", {"n": 2})
    await hot().execute(
        "UPDATE run SET status = 'finished', stop_reason = 'in_doubt', dispatch_at = NULL,"
        " finished_at = now() - interval '2 h' * (id = $1)::int WHERE id IN ($1, $2)", old, run,
    )  # fmt: skip

    found = await figures(ops)

    stops = {v: number for (n, v), number in found.items() if n == "sluice_run_stops_last_hour"}
    assert {reason: number for reason, number in stops.items() if number} == {"in_doubt": 1}


async def test_a_scrape_reads_no_further_than_its_limit_and_never_the_table(ops):
    await hot().execute(
        "INSERT INTO run (id, tenant, pipeline, version, input, budget)"
        " SELECT gen_random_uuid(), 'acme', 'noop', 1, '{}', '{}' FROM generate_series(1, 10100)"
    )

    found = await figures(ops)

    assert found["sluice_runs", "queued"] == count.AT_MOST
    for statement in (count._UNFINISHED, count._PAGED):
        plan = "\n".join(row[0] for row in await hot().fetch(f"EXPLAIN {statement}"))
        assert "Seq Scan" not in plan, plan
        assert plan.count("Limit") == statement.count("LIMIT"), plan
