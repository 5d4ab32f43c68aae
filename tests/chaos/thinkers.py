"""The walk, for pipelines of ours that ask a model: there is a door before the model as well."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
from aiohttp import web

from models import contract, migrate
from models.database import close_database, dsn, hot, open_database
from models.request import Request
from tests.chaos import journal
from tests.chaos.boundaries import Strike, Watch
from tests.chaos.doors import Door
from tests.chaos.frames import HttpFrames, PostgresFrames, statement_names
from tests.chaos.history import CHECKS, Broken, the_record_tells_the_truth
from tests.chaos.nursery import nursery
from tests.chaos.rows import History, lines
from tests.chaos.walker import SETTINGS, Hand, Walker
from tests.conftest import until
from tests.model_server import ModelServer, endpoint, model_server, says
from tools.tickets import desk as local_desk
from worker.pipelines import PIPELINES

QUESTION = "How long does a refund take until it is on my card?"
FINDING = "work/2/page.read:/passages/0"
_FINISH_S, _BLOW_S = 60.0, 2.0
_CLIENT = ("tools.llm.by_openai", "tools.llm.provider")
"""Takes a second to import, which a worker of usual life takes once."""
_NOBODY: Any = SimpleNamespace(
    record=SimpleNamespace(requests=list, tickets=list)
)  # the desk of these pipelines is in the database
_TICKETS = "SELECT id::text FROM desk_ticket WHERE external_ref = $1"
_OUTCOME = """
    SELECT stop_reason, detail, spent_usd, reserved_usd, result,
           (SELECT coalesce(sum(overrun), 0) FROM spend) AS overrun
      FROM run WHERE id = $1
"""
_NOW = "UPDATE run SET dispatch_at = now() WHERE id = $1 AND status = 'queued'"


@dataclass
class Thinkers(Walker):
    """Workers whose questions pass a door, like their statements."""

    model: ModelServer = field(default_factory=ModelServer)
    usual: dict[str, int] = field(default_factory=dict)
    """Requests that the model gets in an undisturbed run, by pipeline."""

    async def walk(self, path: str, strike: Strike) -> list[Broken]:
        hand, _ = await self._staff()
        run_id = await self._walk(hand, path, strike)
        found = await self._wrong(run_id)
        if not hand.watch.struck.is_set():
            found.append(Broken("walk", str(run_id), f"{strike} was never reached"))
        return found

    async def _wrong(self, run_id: UUID) -> list[Broken]:
        history: History = await journal.read(_NOBODY.record, run_id)
        checks = [each for each in CHECKS if each is not the_record_tells_the_truth]
        return [each for check in checks for each in check(history)]

    async def _walk(self, hand: Hand, path: str, strike: Strike | None) -> UUID:
        await hand.watch.arm(strike)
        ref, asked_before = uuid4().hex, len(self.model.requests)
        given = {
            "research": {"question": QUESTION},
            "ticket-triage": {"id": ref, "subject": "hm", "text": "It skipped again, what now?",
                              "assistant": "default"},
        }[path]  # fmt: skip
        run_id = (await self._admit(Request("acme", ref, path, given))).run_id
        hand.watch.may_claim.set()
        try:
            await until(partial(self._over, run_id), within_s=_FINISH_S)
        except AssertionError as error:
            told = "\n".join(lines(await journal.read(_NOBODY.record, run_id)))
            raise AssertionError(f"{strike}: it does not end\n{told}") from error
        if strike is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(hand.watch.struck.wait(), _BLOW_S)
        if self._working is hand and hand.watch.killed:
            await self._hand_over()
        if self._working is not hand:
            hand.hang_up()
        asked = len(self.model.requests) - asked_before
        await self._judge(run_id, path, ref, str(strike))
        if strike is None:
            self.usual[path] = asked
        assert asked <= self.usual[path] + 1, f"{asked} questions after {strike}"
        return run_id

    async def _over(self, run_id: UUID) -> bool:
        await hot().execute(_NOW, run_id)  # as if somebody had waited
        return await super()._over(run_id)

    async def _judge(self, run_id: UUID, path: str, ref: str, strike: str) -> None:
        """The right reason, one effect, the budget kept, and money given back."""
        row = await hot().fetchrow(_OUTCOME, run_id)
        assert row["stop_reason"] == "success", f"{strike}: {tuple(row)}"
        assert (row["reserved_usd"], row["overrun"]) == (0, 0), f"{strike}: {tuple(row)}"
        assert 0 < row["spent_usd"] <= 1, f"{strike}: {tuple(row)}"
        told = orjson.loads(row["result"])
        if path == "research":
            assert told["claims"] == [{"text": "Five days.", "sources": [FINDING]}], strike
            return
        tickets = [each["id"] for each in await hot().fetch(_TICKETS, f"backlog:{ref}")]
        assert tickets == [told["desk_id"]], f"{tickets} at the desk after {strike}"

    async def _hatch(self) -> Hand:
        self._born += 1
        place = self.folder / f"{self._born}"
        place.mkdir()
        before, query = self.url.split("?host=")
        sockets, _, port = query.partition("&port=")
        watch = Watch()
        database = Door(
            watch, Path(sockets) / f".s.PGSQL.{port}", lambda: PostgresFrames(self.names)
        )
        model = Door(watch, int(self.model.url.removesuffix("/v1").rpartition(":")[2]), HttpFrames)
        await database.open(place)
        role = await journal.newcomer(hot())
        url = f"http://127.0.0.1:{await model.open()}/v1"
        surroundings = SETTINGS | {
            "SLUICE_WORKER__CATALOGUES": '["worker.pipelines"]',
            "SLUICE_WORKER__LEASE_S": "9",  # the dead are declared so; the slow are not
            "SLUICE_DATABASE_URL": f"{before}?host={place}&port={port}".replace(
                "postgres@", f"{role}@"
            ),
            "SLUICE_MODELS": orjson.dumps({"default": endpoint(url, timeout_s=20)}).decode(),
            "SLUICE_DATA": str(self.folder / "data"),
        }
        watch.pid = self.nursery.fork(surroundings, self.folder / "workers.log")
        found = await until(
            lambda: hot().fetchval("SELECT id FROM worker WHERE pid = $1", watch.pid)
        )
        return Hand(watch, (database, model), found)


def _minded(model: ModelServer) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Says what fits the question, however often it is put."""

    async def answer(request: web.Request) -> web.StreamResponse:
        system, *_, last = (each["content"] for each in model.requests[-1]["messages"])
        if "Improve this draft" in system:
            said: Any = {"text": "Hello, it is with our team.", "confidence": 1}
        elif "Which one of" in system:
            said = {"category": "billing", "confidence": 0.9}
        elif "Answer the question" in system:
            claim = {"text": "Five days.", "sources": [FINDING]}
            said = {"claims": [claim], "confidence": 0.9}
        elif '"passages"' in last:
            said = {"answer": {"because": "enough"}}
        elif '"hits"' in last:
            read = {"tool": "page.read", "arguments": {"url": "kb:returns-and-refunds.md"}}
            said = {"call": read}
        else:
            said = {"call": {"tool": "search.read", "arguments": {"query": "refund card"}}}
        return await says(said)(request)

    return answer


@asynccontextmanager
async def thinkers(server_url: str, folder: Path) -> AsyncIterator[Thinkers]:
    """Such a walker in a database of its own on this server."""
    name = f"think_{uuid4().hex[:8]}"
    admin = await asyncpg.connect(dsn(server_url))
    await admin.execute(f"CREATE DATABASE {name}")
    url = server_url.replace("@/postgres?", f"@/{name}?")
    await migrate.upgrade(url)
    await open_database(url)
    names = statement_names() | {local_desk._CREATE: "ticket"}
    try:
        await hot().execute(journal.INSTALL)
        await contract.publish(each.contract() for each in PIPELINES.values())
        async with model_server() as model:
            model.will(_minded(model))
            with nursery(
                "worker.pipelines", "tools.llm.by_openai", "tools.llm.provider"
            ) as hatchery:
                it = Thinkers(url, hatchery, _NOBODY, folder, names=names, model=model)
                try:
                    yield it
                finally:
                    await it.close()
    finally:
        await close_database()
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await journal.forget_newcomers(admin)
        await admin.close()
