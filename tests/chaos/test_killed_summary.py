"""A worker process that is killed between an agent's summary and its next question."""

import asyncio

import orjson
import pytest

from models.database import hot
from tests.chaos.test_killed_model_call import CALM, PRICES
from tests.conftest import CATALOGUE, finished, reload, until
from tests.model_pipelines import NAME
from tests.model_server import model_server, says, waits
from tests.window_pipelines import GOAL, PIPELINES

CATALOGUE |= PIPELINES


@pytest.mark.long
async def test_a_worker_killed_behind_a_summary_goes_on_from_it_elsewhere(submit, fleet):
    reads = [{"call": {"tool": "page.read", "arguments": {"n": n}}} for n in (1, 2, 3)]
    summed = {"found": ["the shop is in Elm Street"]}
    answer = says({"answer": {"text": "at nine"}})
    async with model_server() as server:
        stuck = waits(asyncio.Event(), answer)
        server.will(says(reads[0]), says(reads[1]), says(summed), stuck, says(reads[2]), answer)
        named = {NAME: {"base_url": server.url, "model": "probe-1", "timeout_s": 60, **PRICES}}
        settings = CALM | {
            "MODELS": orjson.dumps(named).decode(),
            "WORKER__CATALOGUES": '["tests.window_pipelines"]',
        }
        first = fleet.workers(1, **settings)[0]
        run = await submit("reading", {"agent": "tight"})
        await until(lambda: asyncio.sleep(0, len(server.requests) == 4), within_s=30)

        first.kill()
        first.wait()
        fleet.workers(1, **settings)
        await until(lambda: finished(1), within_s=30)

    row = await reload(run)
    assert (row["stop_reason"], row["crashes"]) == ("success", 1)
    asked, again, last = (each["messages"] for each in server.requests[3:6])
    blocks = [each[1]["content"].splitlines()[1:-1] for each in (asked, again, last)]
    assert blocks[0] == blocks[1]
    assert summed["found"][0] in "".join(blocks[2])
    assert all(GOAL in each[0]["content"] for each in (asked, again, last))
    summaries = "SELECT count(*) FROM ledger_entry WHERE step LIKE 'work/summary-%'"
    assert await hot().fetchval(summaries) == 1
