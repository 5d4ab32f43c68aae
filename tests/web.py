"""A small web: a search engine and the pages that it lists, on two hosts of this machine."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Web:
    """`pages` by path; the engine lists `results`, and `elsewhere` is a host that nobody lists."""

    url: str = ""
    elsewhere: str = ""
    pages: dict[str, web.Response | str] = field(default_factory=dict)
    results: list[Any] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def policy(self) -> str:
        """Lets `page.read` go to both hosts."""
        hosts = [each.removeprefix("http://") for each in (self.url, self.elsewhere)]
        return f"egress: {{hosts: {{page.read: {hosts}}}, private: ['127.0.0.0/8']}}"

    def lists(self, *paths: str) -> None:
        self.results[:] = [
            {"url": f"{self.url}{path}", "title": path, "content": "as it says", "engine": "own"}
            for path in paths
        ]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"http://{request.host}{request.raw_path}")
        if request.path == "/search":
            return web.json_response({"query": request.query["q"], "results": self.results})
        found = self.pages.get(request.path)
        if found is None:
            return web.Response(status=404)
        if isinstance(found, str):
            return web.Response(text=found, content_type="text/html")
        return web.Response(body=found.body, status=found.status, headers=found.headers)


@asynccontextmanager
async def a_web() -> AsyncIterator[Web]:
    it = Web()
    app = web.Application()
    app.router.add_get("/{path:.*}", it.serve)
    runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    for host in ("127.0.0.1", "127.0.0.2"):
        await web.TCPSite(runner, host, 0).start()
    ours, other = (f"http://{each[0]}:{each[1]}" for each in runner.addresses)
    it.url, it.elsewhere = ours, other
    try:
        yield it
    finally:
        await runner.cleanup()
