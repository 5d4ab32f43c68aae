"""The API process: aiohttp on loopback, and on a socket in our own data folder."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from aiohttp import web

from config.bell import Bell
from config.broker import make_app
from config.settings import Settings
from models import schema
from models.admission import Admission
from models.database import close_database, hot, open_database
from producer import autonomy, forks, gates, guards, metrics, requests, reviews, runs
from producer.auth import Doorman
from producer.problems import Handler, as_problems
from producer.state import ANSWER_BY, STATE, State
from producer.waiting import Waiting

log = structlog.get_logger()

PATIENCE_S = 2.0
"""How long a POST tries a PostgreSQL that refuses, before it answers 503."""
ANSWER_S = 5.0
"""How long any answer may take, beyond what `?wait=` asks for, before it is 503."""


@asynccontextmanager
async def api(
    settings: Settings, *, database_url: str, broker_url: str | None
) -> AsyncIterator[web.Application]:
    """The application with everything it needs open, and closed again afterwards."""
    await schema.ensure(database_url, embedded=settings.embedded)
    await open_database(database_url)
    bell = Bell(make_app(broker_url, settings) if broker_url else None, settings)
    waiting = Waiting()
    waiting.start()
    app = web.Application(
        middlewares=[as_problems, in_time], client_max_size=settings.api.max_body_bytes
    )
    app[STATE] = State(settings, Admission(patience_s=PATIENCE_S), bell, Doorman(), waiting)
    app.add_routes(
        [
            web.post("/v1/runs", runs.post_run),
            web.post("/v1/runs/bulk", runs.post_runs),
            web.get("/v1/runs/{id}", runs.get_run),
            web.post("/v1/runs/{id}/cancel", runs.post_cancel),
            web.post("/v1/runs/{id}/fork", forks.post_fork),
            web.get("/v1/requests/{key:.+}", requests.get_request),
            web.get("/v1/reviews", reviews.get_reviews),
            web.post("/v1/reviews/{id}/verdict", reviews.post_verdict),
            web.get("/v1/gate", gates.get_gate),
            web.put("/v1/gate", gates.put_gate),
            web.get("/v1/autonomy", autonomy.get_autonomy),
            web.get("/healthz", _alive),
            web.get("/healthz/guards", guards.get_guards),
            web.get("/metrics", metrics.get_metrics),
            web.get("/readyz", _ready),
        ]
    )
    try:
        yield app
    finally:
        await waiting.close()
        await bell.close()
        await close_database()


@web.middleware
async def in_time(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A frozen PostgreSQL costs a client seconds; a statement's own limit is half a minute."""
    await request.read()  # at the client's pace
    wait_s = request.app[STATE].settings.api.wait_limit_s if "wait" in request.query else 0
    request[ANSWER_BY] = asyncio.get_running_loop().time() + ANSWER_S + wait_s
    async with asyncio.timeout(ANSWER_S + wait_s):
        return await handler(request)


async def serve(
    settings: Settings, *, database_url: str, broker_url: str | None, socket: Path | None
) -> None:
    """Answer until SIGTERM or SIGINT; requests under way are finished."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with api(settings, database_url=database_url, broker_url=broker_url) as app:
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        site = web.TCPSite(runner, settings.api.host, settings.api.port)
        await site.start()
        if socket is not None:
            await _listen(runner, socket)
        log.info("api.started", url=site.name, socket=str(socket) if socket else None)
        await stop.wait()
        await runner.cleanup()


async def _listen(runner: web.AppRunner, socket: Path) -> None:
    await asyncio.to_thread(socket.unlink, missing_ok=True)
    await web.UnixSite(runner, str(socket)).start()
    await asyncio.to_thread(socket.chmod, 0o600)


async def _alive(_: web.Request) -> web.Response:
    return web.Response(text="alive\n")


async def _ready(_: web.Request) -> web.Response:
    await hot().fetchval("SELECT 1")
    return web.Response(text="ready\n")
