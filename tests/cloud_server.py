"""The sample cloud as a server of a test's own, which misbehaves as it is told."""

import asyncio
import socket
import struct
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from samples.cloud import Cloud

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Fault = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]


@dataclass
class CloudLab:
    """A cloud, where it is, and what goes wrong next, by verb (`look` is the GET)."""

    cloud: Cloud = field(default_factory=Cloud)
    url: str = ""
    faults: dict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))
    before: Callable[[str], Awaitable[None]] | None = None
    """Called with each request's verb, before it is served."""

    def will(self, verb: str, *faults: Fault) -> None:
        self.faults[verb] = list(faults)

    def posts(self) -> dict[str, int]:
        """How many snapshots, stops and starts had an effect."""
        verbs = ("snapshots", "stop", "start")
        return {each: self.cloud.effects(each) for each in verbs if self.cloud.effects(each)}

    def keys(self, verb: str) -> set[str]:
        posts = [each for each in self.cloud.requests if each.method == "POST"]
        return {each.key for each in posts if each.path.endswith(f"/{verb}")}

    @web.middleware
    async def serve(self, request: web.Request, handler: Any) -> web.StreamResponse:
        verb = request.match_info.get("verb", "look")
        if self.before is not None:
            await self.before(verb)
        fault = self.faults[verb].pop(0) if self.faults[verb] else None
        return await (handler(request) if fault is None else fault(request, handler))


@asynccontextmanager
async def cloud_server() -> AsyncIterator[CloudLab]:
    it = CloudLab()
    app = it.cloud.app()
    app.middlewares.append(it.serve)
    runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    it.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield it
    finally:
        await runner.cleanup()


def refuses(status: int, **headers: str) -> Fault:
    """Nothing is done."""

    async def fault(_: web.Request, __: Handler) -> web.StreamResponse:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response({"code": "busy", "message": "no"}, status=status, headers=names)

    return fault


def does_and_says(status: int, body: Any = None) -> Fault:
    """It is done, and told otherwise."""

    async def fault(request: web.Request, handler: Handler) -> web.StreamResponse:
        await handler(request)
        return web.json_response(body, status=status)

    return fault


def does_and_hangs() -> Fault:
    async def fault(request: web.Request, handler: Handler) -> web.StreamResponse:
        await handler(request)
        await asyncio.Event().wait()
        raise AssertionError

    return fault


def does_and_resets() -> Fault:
    async def fault(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        assert request.transport is not None
        wire = request.transport.get_extra_info("socket")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
        return answer

    return fault


def only_says(status: int, body: Any) -> Fault:
    """Nothing is done, and it says that it was."""

    async def fault(_: web.Request, __: Handler) -> web.StreamResponse:
        return web.json_response(body, status=status)

    return fault
