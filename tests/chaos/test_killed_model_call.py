"""Worker processes that are killed while a model thinks, and the money of what they asked."""

import asyncio
import time

import orjson

from models.database import hot
from tests.conftest import finished, reload, until
from tests.model_pipelines import NAME
from tests.model_server import USED, model_server, says, waits

FINE = {"queue": "it", "confidence": 0.9}
CALM = {
    "WORKER__LEASE_S": "3",
    "WORKER__HEARTBEAT_S": "1",
    "WORKER__CATALOGUES": '["tests.model_pipelines"]',
}
PRICES = {"usd_per_million_in": 10, "usd_per_million_out": 20}


async def test_a_worker_killed_while_a_model_thinks_costs_its_reservation_and_no_more(
    submit, fleet
):
    may = asyncio.Event()
    async with model_server() as server:
        server.will(waits(may, says(FINE)), says(FINE))
        named = {NAME: {"base_url": server.url, "model": "probe-1", "timeout_s": 60, **PRICES}}
        settings = CALM | {"MODELS": orjson.dumps(named).decode()}
        first = fleet.workers(1, **settings)[0]
        run = await submit("sorter", {})
        await until(lambda: asyncio.sleep(0, bool(server.requests)))
        reserved = await hot().fetchval("SELECT reserved_usd FROM run WHERE id = $1", run)

        first.kill()
        first.wait()
        fleet.workers(1, **settings)
        await until(lambda: finished(1), within_s=30)

    row = await reload(run)
    usual = (USED[0] * 10 + USED[1] * 20) / 1_000_000
    assert (row["stop_reason"], row["reserved_usd"], row["crashes"]) == ("success", 0, 1)
    assert float(row["spent_usd"]) == float(reserved) + usual
    assert len(server.requests) == 2


async def test_a_worker_that_is_told_to_go_leaves_a_question_that_takes_long(submit, fleet):
    """Like a kill to the endpoint: what was asked is booked; the run comes back without a crash."""
    async with model_server() as server:
        server.will(waits(asyncio.Event(), says(FINE)), says(FINE))
        named = {NAME: {"base_url": server.url, "model": "probe-1", "timeout_s": 60, **PRICES}}
        settings = CALM | {"MODELS": orjson.dumps(named).decode(), "WORKER__GRACE_S": "0.5"}
        leaving = fleet.workers(1, **settings)[0]
        run = await submit("sorter", {})
        await until(lambda: asyncio.sleep(0, bool(server.requests)))
        begun = time.monotonic()

        leaving.terminate()
        assert leaving.wait(15) == 0, fleet.logs()[-2000:]
        assert time.monotonic() - begun < 10
        fleet.workers(1, **settings)
        await until(lambda: finished(1), within_s=30)

    row = await reload(run)
    assert (row["stop_reason"], row["crashes"], row["reserved_usd"]) == ("success", 0, 0)
    assert len(server.requests) == 2
    assert "internal_error" not in fleet.logs()
