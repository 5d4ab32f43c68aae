"""What needs a person is told once, however many workers see it."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from config.settings import NotifySettings
from models import notice
from models.database import hot
from tests.conftest import expire_lease, sweep, until
from worker.notifier import Notifier


@pytest.fixture
async def pager():
    """A webhook that refuses the first post, and remembers what it took."""
    told = []
    refusals = [503]

    async def take(request):
        if refusals:
            return web.Response(status=refusals.pop())
        told.append(await request.json())
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hook", take)
    server = TestServer(app)
    await server.start_server()
    yield str(server.make_url("/hook")), told, refusals
    await server.close()


@asynccontextmanager
async def notifiers(url, count):
    settings = NotifySettings(webhook=SecretStr(url), every_s=0.1)
    tasks = [asyncio.create_task(Notifier(settings).run()) for _ in range(count)]
    try:
        yield
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def exhausted(submit, attempt, key):
    run = await submit("noop", {}, key=key)
    await hot().execute(
        "UPDATE run SET status = 'running', worker = gen_random_uuid(), attempt = 1, crashes = 2,"
        " lease_expires_at = now() WHERE id = $1",
        run,
    )
    await expire_lease(run)


async def test_three_workers_page_once_for_a_storm_and_try_again_after_a_refusal(
    submit, attempt, pager
):
    url, told, refusals = pager
    for n in range(5):
        await exhausted(submit, attempt, f"k{n}")
    assert await sweep() == 5

    async with notifiers(url, 3):
        await until(lambda: hot().fetchval("SELECT count(*) FROM notice WHERE tries = 1"))
        await hot().execute("UPDATE notice SET next_try = now()")
        await until(lambda: hot().fetchval("SELECT count(*) FROM notice WHERE sent_at IS NOT NULL"))
        await asyncio.sleep(0.5)

    assert refusals == []
    assert [each["kind"] for each in told] == ["stopped"]
    assert "5 run(s) of noop v1 stopped as crashes_exhausted" in told[0]["text"]
    assert told[0]["id"].startswith("stopped:noop:1:crashes_exhausted:")


async def test_runs_that_nobody_can_run_are_noticed(submit):
    await submit("noop", {})
    await hot().execute("UPDATE run SET dispatch_at = now() - interval '2 min'")

    (stranded,) = await notice.collect()
    again = await notice.collect()
    await hot().execute("DELETE FROM notice")
    await hot().execute(
        "INSERT INTO worker (id, host, pid, runs)"
        " VALUES (gen_random_uuid(), 'here', 1, '[[\"noop\", 1]]')"
    )
    served = await notice.collect()

    assert stranded[0] == "stranded"
    assert "1 run(s) wait for noop v1, which no living worker runs" in stranded[1]
    assert again == served == []


async def test_a_write_in_doubt_is_noticed(submit, attempt, world):
    from tests.integration.test_doubt import in_doubt  # noqa: PLC0415  # its story, our ending

    await in_doubt(submit, attempt, world)

    assert [kind for kind, _ in await notice.collect()] == ["doubt"]
