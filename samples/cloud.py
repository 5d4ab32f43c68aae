"""A cloud to try: a few instances, with the interface that tools/cloud/provider.py speaks.

`python -m samples.cloud --port 8918` starts one on this host; everything is gone when it ends. It
prints a line for each request. SAMPLE_CLOUD_TOKEN, if it is set, is the token that it wants.
"""

import argparse
import asyncio
import contextlib
import os
import sys
from dataclasses import dataclass, field
from decimal import Decimal
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson
from aiohttp import web

INSTANCES = (
    ("i-sandbox-7", "search sandbox", "running", ("sandbox", "team:search"), "38.00"),
    ("i-staging-load", "load test of spring", "running", ("staging", "load-test"), "412.50"),
    ("i-prod-db-1", "orders", "running", ("production-db", "team:shop"), "890.00"),
    ("i-web-checkout", "checkout", "running", ("critical", "team:shop"), "210.00"),
    ("i-dev-forgotten", "demo of last year", "stopped", ("dev",), "55.00"),
)


@dataclass
class Instance:
    id: str
    name: str
    state: str
    tags: tuple[str, ...]
    monthly_usd: str

    def told(self) -> dict[str, Any]:
        return {**vars(self), "tags": list(self.tags)}


class Seen(NamedTuple):
    """A request that reached the cloud."""

    method: str
    path: str
    key: str
    body: Any
    status: int
    first: bool
    """It had an effect, or could have had one: no repeat of a key that was answered before."""


@dataclass
class Cloud:
    """Instances, snapshots, and every request, in memory."""

    token: str = ""
    instances: dict[str, Instance] = field(
        default_factory=lambda: {each[0]: Instance(*each) for each in INSTANCES}
    )
    snapshots: list[dict[str, str]] = field(default_factory=list)
    requests: list[Seen] = field(default_factory=list)
    _answers: dict[str, tuple[str, int, Any]] = field(default_factory=dict)

    def effects(self, verb: str) -> int:
        """How many POSTs of this verb have done something."""
        return sum(
            each.first and each.status < HTTPStatus.BAD_REQUEST and each.path.endswith(f"/{verb}")
            for each in self.requests
        )

    async def serve(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read() or b"null")
        key = request.headers.get("Idempotency-Key", "")
        said = request.headers.get("Authorization", "").removeprefix("Bearer ")
        known = self._answers.get(key) if request.method == "POST" else None
        if said != self.token:
            status, answer = HTTPStatus.UNAUTHORIZED, _no("unauthorized", "the token is wrong")
        elif known is not None and known[0] != request.path:
            status, answer = HTTPStatus.UNPROCESSABLE_ENTITY, _no("key", "the key was another's")
        elif known is not None:
            status, answer = known[1:]
        else:
            status, answer = self._do(request, key, body)
        seen = Seen(request.method, request.path, key, body, status, first=known is None)
        self.requests.append(seen)
        return web.json_response(answer, status=status)

    def _do(self, request: web.Request, key: str, body: Any) -> tuple[int, Any]:
        found = self.instances.get(request.match_info["id"])
        verb = request.match_info.get("verb", "")
        if found is None:
            return HTTPStatus.NOT_FOUND, _no("unknown", "there is no such instance")
        if request.method == "GET":
            asked = request.query.get("key")
            made = [each for each in self.snapshots if each["key"] == asked]
            return HTTPStatus.OK, {"snapshots": made} if verb == "snapshots" else found.told()
        if not key:
            return HTTPStatus.BAD_REQUEST, _no("key", "a POST needs an Idempotency-Key")
        status, answer = self._change(found, verb, key, body or {})
        if status < HTTPStatus.BAD_REQUEST:
            self._answers[key] = request.path, status, answer
        return status, answer

    def _change(self, found: Instance, verb: str, key: str, body: Any) -> tuple[int, Any]:
        if verb == "snapshots":
            made = {"id": f"snap-{len(self.snapshots) + 1:04}", "of": found.id, "key": key}
            self.snapshots.append(made)
            return HTTPStatus.CREATED, made
        if verb == "stop":
            words = body.get("unless_tagged", [])
            if tag := next((t for t in found.tags if any(w in t.casefold() for w in words)), None):
                return HTTPStatus.CONFLICT, _no("protected", f"it is tagged {tag}")
            if Decimal(body.get("if_monthly_usd", "-1")) != Decimal(found.monthly_usd):
                told = f"it costs {found.monthly_usd} USD a month"
                return HTTPStatus.CONFLICT, _no("changed", told)
            found.state = "stopped"
            return HTTPStatus.OK, found.told()
        if verb == "start":
            found.state = "running"
            return HTTPStatus.OK, found.told()
        return HTTPStatus.NOT_FOUND, _no("unknown", "there is no such verb")

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/instances/{id}", self.serve)
        app.router.add_route("*", "/instances/{id}/{verb}", self.serve)
        return app


def _no(code: str, message: str) -> dict[str, str]:
    return {"code": code, "message": message}


@web.middleware
async def _tell(request: web.Request, handler: Any) -> web.StreamResponse:
    response: web.StreamResponse = await handler(request)
    sys.stdout.write(f"{request.method} {request.path} {response.status}\n")
    sys.stdout.flush()
    return response


async def _serve(port: int) -> None:
    app = Cloud(token=os.environ.get("SAMPLE_CLOUD_TOKEN", "")).app()
    app.middlewares.append(_tell)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    sys.stdout.write(f"a cloud with {len(INSTANCES)} instances: SLUICE_CLOUD__URL=")
    sys.stdout.write(f"http://127.0.0.1:{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(prog="python -m samples.cloud", description=__doc__)
    _parser.add_argument("--port", type=int, default=8918)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(_parser.parse_args().port))
