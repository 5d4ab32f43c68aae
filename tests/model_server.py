"""An OpenAI-compatible server on the wire, as it is told: well, late, broken, lying."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
USED = (100, 20)
"""Tokens in and out of a usual answer."""


@dataclass
class ModelServer:
    """Answers by its script, one entry for each request; the last one again and again."""

    url: str = ""
    script: list[Answer] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def will(self, *answers: Answer) -> None:
        self.script[:] = answers

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.keys.append(request.headers.get("Authorization", ""))
        self.requests.append(orjson.loads(await request.read()))
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return await answer(request)


@asynccontextmanager
async def model_server() -> AsyncIterator[ModelServer]:
    it = ModelServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", it.serve)
    runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    it.url = f"http://127.0.0.1:{port}/v1"
    try:
        yield it
    finally:
        await runner.cleanup()


def endpoint(url: str, **more: Any) -> dict[str, Any]:
    """Its settings, as an operator would write them; None leaves one out."""
    usual = {
        "base_url": url, "model": "probe-1", "timeout_s": 0.5, "max_tokens": 500,
        "usd_per_million_in": 10, "usd_per_million_out": 20,
    }  # fmt: skip
    return {name: value for name, value in (usual | more).items() if value is not None}


def says(
    said: Any, *, used: tuple[int, int] | None = USED, finish: str = "stop", **message: Any
) -> Answer:
    """A completion; what is no text goes as JSON. `used` None: it does not count."""
    text = said if said is None or isinstance(said, str) else orjson.dumps(said).decode()
    document: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "probe-2026-11",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": text} | message,
            }
        ],
    }
    if used is not None:
        counts = {"prompt_tokens": used[0], "completion_tokens": used[1]}
        document["usage"] = counts | {"total_tokens": sum(used)}
    return raw(orjson.dumps(document))


def says_as_anthropic(said: Any, *, stop: str = "end_turn") -> Answer:
    """The same in Anthropic's own form."""
    document = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "probe-2026-11",
        "content": [{"type": "text", "text": orjson.dumps(said).decode()}],
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": USED[0], "output_tokens": USED[1]},
    }
    return raw(orjson.dumps(document))


def raw(body: bytes, kind: str = "application/json") -> Answer:
    """A 200 with just this."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=kind)

    return answer


def refuses(status: int, told: str = "no", code: str = "", **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        error = {"error": {"message": told, "code": code}}
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response(error, status=status, headers=names)

    return answer


def waits(until: asyncio.Event, then: Answer) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        await until.wait()
        return await then(request)

    return answer


def cut() -> Answer:
    """Half an answer, and then nobody is there any more."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "900"})
        await response.prepare(request)
        await response.write(b'{"id": "chatcmpl-1", "choices": [{"index"')
        assert request.transport is not None
        request.transport.close()
        return response

    return answer


def trickles(seconds: float) -> Answer:
    """A byte now and then, so that no single read is ever late."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(int(seconds / 0.05)):
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    return answer
