"""A ticket desk in a process of its own that fails as it is told: `python -m tests.desk FOLDER`.

POST /tickets         {external_ref, title, body?}, Idempotency-Key: 201, or 200 for a repeat
GET  /tickets?key=    what a key has opened; ?ref= what there is for an external_ref
PUT  /faults          set the faults that the body names; the others stay
GET  /faults          the faults as they are set, and how many of each were really injected
"""

import argparse
import asyncio
import os
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from tests.desk_faults import Fault, Faults
from tests.desk_record import Book, DeskRecord, Ticket

_STATUS = {
    None: HTTPStatus.CREATED,
    Fault.DRIFT: HTTPStatus.CREATED,
    Fault.HALF_ANSWER: HTTPStatus.CREATED,
    Fault.HANG: HTTPStatus.CREATED,
    Fault.CREATE_THEN_502: HTTPStatus.BAD_GATEWAY,
    Fault.REFUSE_429: HTTPStatus.TOO_MANY_REQUESTS,
}
_START_S = 20.0


class _Form(BaseModel, extra="forbid"):
    external_ref: str = Field(min_length=1)
    title: str
    body: str = ""


class _Server:
    """The routes, over one book."""

    def __init__(self, folder: Path) -> None:
        self._book = Book(folder)
        self._record = DeskRecord(folder)
        self._faults = Faults.model_validate_json(self._book.told())

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/tickets", self._create)
        app.router.add_get("/tickets", self._list)
        app.router.add_put("/faults", self._set)
        app.router.add_get("/faults", self._tell)
        return app

    async def _create(self, request: web.Request) -> web.StreamResponse:
        raw, key = await request.read(), request.headers.get("Idempotency-Key")
        await asyncio.sleep(self._faults.latency_s)
        try:
            form = _Form.model_validate_json(raw)
        except ValidationError as error:
            with self._book:
                self._book.note(key, None, "refused", None, HTTPStatus.UNPROCESSABLE_ENTITY)
            return web.json_response({"error": str(error)}, status=422)
        # From here to the commit nothing is awaited: two POSTs of one key cannot both be first.
        with self._book:
            fault = self._faults.fate(form.external_ref, self._book.posts_of(form.external_ref))
            ticket, did = self._open(form, key, fault)
            status = HTTPStatus.OK if fault is None and did == "repeated" else _STATUS.get(fault)
            self._book.note(key, form.external_ref, did, fault, status)
        return await self._answer(request, ticket, fault, status)

    def _open(self, form: _Form, key: str | None, fault: Fault | None) -> tuple[Ticket | None, str]:
        if fault is not None and not fault.effect:
            return None, "refused" if fault in _STATUS else "nothing"
        if self._faults.dedupe and (ticket := self._book.first_of(key)) is not None:
            return ticket, "repeated"
        return self._book.create(form.external_ref, key, form.title), "created"

    async def _answer(
        self,
        request: web.Request,
        ticket: Ticket | None,
        fault: Fault | None,
        status: HTTPStatus | None,
    ) -> web.StreamResponse:
        if status is None:
            return _reset(request)
        if ticket is None or status is HTTPStatus.BAD_GATEWAY:
            after = str(self._faults.retry_after_s)
            return web.Response(status=status, headers={"Retry-After": after} if not ticket else {})
        body = orjson.dumps(_in_words(ticket, self._faults.schema_))
        if fault is Fault.HALF_ANSWER:
            return await _half(request, body)
        if fault is Fault.HANG:
            await asyncio.sleep(self._faults.hang_s)
        return web.Response(status=status, body=body, content_type="application/json")

    async def _list(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self._faults.latency_s)
        with self._book:
            tickets = self._book.look(
                request.query.get("key"),
                request.query.get("ref"),
                older_than_s=self._faults.sees_after_s,
            )
        told = [_in_words(ticket, self._faults.lookup_schema) for ticket in tickets]
        return web.json_response({"tickets": told})

    async def _set(self, request: web.Request) -> web.Response:
        told = orjson.loads(self._book.told()) | await request.json()
        try:
            self._faults = Faults.model_validate(told)
        except ValidationError as error:
            return web.json_response({"error": str(error)}, status=422)
        with self._book:
            self._book.tell(orjson.dumps(told).decode())
        return await self._tell(request)

    async def _tell(self, _: web.Request) -> web.Response:
        faults = self._faults.model_dump(by_alias=True)
        return web.json_response({"faults": faults, "injected": self._record.faults()})


def _in_words(ticket: Ticket, schema: int) -> dict[str, Any]:
    """One ticket as the contract has it, or as its next version renames it."""
    name = "id" if schema == 1 else "ticket_number"
    return {name: str(ticket.id), "external_ref": ticket.external_ref}


def _reset(request: web.Request) -> web.Response:
    """Hang up in such a way that the other side reads an error, not an end."""
    if request.transport is not None:
        linger = struct.pack("ii", 1, 0)
        request.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, linger
        )
        request.transport.abort()
    return web.Response()  # nobody is there to read it


async def _half(request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(status=HTTPStatus.CREATED)
    response.content_type, response.content_length = "application/json", len(body)
    await response.prepare(request)
    with suppress(ConnectionError):
        await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()  # what is written still leaves
    return response


async def _serve(folder: Path, port: int) -> None:
    runner = web.AppRunner(_Server(folder).app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, shutdown_timeout=0.1)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    (folder / "url.new").write_text(url)
    (folder / "url.new").rename(folder / "url")
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


@dataclass
class Desk:
    """A desk in a process of its own, as a test holds it."""

    folder: Path
    url: str = ""
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def record(self) -> DeskRecord:
        return DeskRecord(self.folder)

    def start(self) -> None:
        """Begin, or go on with the same record, the same faults and at the same address."""
        (self.folder / "url").unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.desk", str(self.folder)]
        command += ["--port", self.url.rpartition(":")[2]] if self.url else []
        root = str(Path(__file__).parents[1])
        with (self.folder / "desk.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=os.environ | {"PYTHONPATH": root},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        give_up = time.monotonic() + _START_S
        while not (self.folder / "url").exists():
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"no desk: {(self.folder / 'desk.log').read_text()[-2000:]}")
            time.sleep(0.02)
        self.url = (self.folder / "url").read_text()

    def kill(self) -> None:
        """SIGKILL: what it has answered is on record all the same."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def set(self, **faults: Any) -> None:
        """Change these faults and leave the others; the names are those of `Faults`."""
        request = urllib.request.Request(  # noqa: S310  # loopback
            f"{self.url}/faults", orjson.dumps(faults), method="PUT"
        )
        with urllib.request.urlopen(request, timeout=10):  # noqa: S310  # loopback
            pass


@contextmanager
def started_desk(folder: Path, **faults: Any) -> Iterator[Desk]:
    """A desk with these faults, ended afterwards; its record stays in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    desk = Desk(folder)
    try:
        desk.start()
        desk.set(**faults)
        yield desk
    finally:
        desk.kill()


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(prog="python -m tests.desk")
    _parser.add_argument("folder", type=Path)
    _parser.add_argument("--port", type=int, default=0)
    _asked = _parser.parse_args()
    _asked.folder.mkdir(parents=True, exist_ok=True)
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(_asked.folder, _asked.port))
