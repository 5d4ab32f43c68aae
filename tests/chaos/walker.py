"""The walk: one run for each strike, then a second worker, then the question what is left."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from models import contract, migrate
from models.admission import Admission
from models.database import close_database, dsn, hot, open_database
from models.request import Request
from models.review import ReviewKind, Verdict
from models.verdict import NotOpen, answer
from tests.chaos import journal, paths
from tests.chaos.boundaries import Boundary, Strike, Watch
from tests.chaos.doors import Door
from tests.chaos.frames import HttpFrames, PostgresFrames, statement_names
from tests.chaos.history import Broken, broken
from tests.chaos.nursery import Nursery, nursery
from tests.chaos.rows import lines
from tests.conftest import until
from tests.desk import Desk, started_desk
from tests.desk_pipelines import URL
from worker.sweeper import Sweeper

BEAT_S = 0.5
SETTINGS = {
    "SLUICE_WORKER__CATALOGUES": '["tests.chaos.paths"]',
    "SLUICE_WORKER__LEASE_S": "1.5",
    "SLUICE_WORKER__HEARTBEAT_S": f"{BEAT_S}",
    "SLUICE_LOG_LEVEL": "info",
}
PATHS = ("path", "path-once", "path-blind")
_FINISH_S = 30.0
_BLOW_S = 2.0

_EXPIRE = """
    UPDATE run SET lease_expires_at = now() - interval '1 s'
     WHERE status = 'running' AND worker = $1
"""
_STEADY = "UPDATE worker SET steady_since = now() - interval '1 min' WHERE id = $1"
_SIT_OUT = """
    WITH doubtful AS (
        UPDATE run SET dispatch_at = now()
         WHERE id = $1 AND status = 'queued' AND waiting_for = 'doubt' AND dispatch_at > now()
     RETURNING id)
    UPDATE ledger_entry SET quiet_at = now() - interval '1 min'
      FROM doubtful WHERE run_id = doubtful.id AND state = 'reserved'
"""
"""As if somebody had waited: the dead renew no lease, and the watch knows that nothing of theirs
is on its way."""
_OPEN = "SELECT id, step, kind, proposal FROM review WHERE run_id = $1 AND verdict IS NULL"


@dataclass
class Hand:
    """A worker process behind doors of its own."""

    watch: Watch
    doors: Sequence[Door]
    id: UUID

    def shut(self) -> None:
        for door in self.doors:
            door.shut()

    def hang_up(self) -> None:
        for door in self.doors:
            door.hang_up()


@dataclass
class Walker:
    """Two workers, one at work and one in waiting, and a desk."""

    url: str
    nursery: Nursery
    desk: Desk
    folder: Path
    names: dict[str, str] = field(default_factory=statement_names)
    reviewed: int = 0
    """In doubt: how often a person was asked."""
    _admit: Admission = field(default_factory=lambda: Admission(patience_s=5))
    _working: Hand | None = None
    _waiting: "asyncio.Task[Hand] | None" = None
    _born: int = 0

    async def record(self, path: str) -> list[Boundary]:
        """The boundaries of an undisturbed run, in their order."""
        hand, _ = await self._staff()
        for _ in range(2):  # the first clears away what the last strike has left in the worker
            await self._walk(hand, path, None)
        hand.watch.may_claim.clear()
        await hand.watch.rest()
        return list(hand.watch.seen)

    async def walk(self, path: str, strike: Strike) -> list[Broken]:
        """Strike, let the fleet finish the run, and say what is wrong with what is left."""
        hand, _ = await self._staff()
        run_id = await self._walk(hand, path, strike)
        found = broken(await journal.read(self.desk.record, run_id))
        if not hand.watch.struck.is_set():
            found.append(Broken("walk", str(run_id), f"{strike} was never reached"))
        return found

    async def _walk(self, hand: Hand, path: str, strike: Strike | None) -> UUID:
        await hand.watch.arm(strike)
        ref = uuid4().hex
        run_id = (await self._admit(Request("acme", ref, path, {"ref": ref}))).run_id
        hand.watch.may_claim.set()
        try:
            await until(partial(self._over, run_id), within_s=_FINISH_S)
        except AssertionError as error:
            told = "\n".join(lines(await journal.read(self.desk.record, run_id)))
            raise AssertionError(f"{strike}: it does not end\n{told}") from error
        if strike is not None:
            with contextlib.suppress(TimeoutError):  # the run may be over a moment before the blow
                await asyncio.wait_for(hand.watch.struck.wait(), _BLOW_S)
        if self._working is hand and hand.watch.killed:
            await self._hand_over()
        if self._working is not hand:
            hand.hang_up()  # by now, what was to come late has come
        for each in paths.Path(ref=ref).refs():
            assert self.desk.record.effects()[each] == 1, f"{each} after {strike}"
        written = await hot().fetchval("SELECT sum(writes) FROM memory WHERE key = $1", ref)
        assert written == 1, f"{written} x remembered after {strike}"
        row = await hot().fetchrow("SELECT stop_reason, detail FROM run WHERE id = $1", run_id)
        assert row["stop_reason"] == "success", f"{strike}: {tuple(row)}"
        return run_id

    async def _over(self, run_id: UUID) -> bool:
        assert self._working is not None
        if self._working.watch.killed:
            await self._hand_over()
        for review in await hot().fetch(_OPEN, run_id):
            with contextlib.suppress(NotOpen):
                await self._answer(run_id, review)
            self._working.watch.may_claim.set()
        await hot().execute(_SIT_OUT, run_id)
        status = await hot().fetchval("SELECT status FROM run WHERE id = $1", run_id)
        return bool(status == "finished")

    async def _answer(self, run_id: UUID, review: Any) -> None:
        """What is in doubt is answered as the desk's own record has it."""
        if review["kind"] != ReviewKind.IN_DOUBT:
            await answer(review["id"], Verdict.APPROVED, who="ann")
            return
        self.reviewed += 1
        key = f"{run_id}:{review['step']}"
        there = [ticket for ticket in self.desk.record.tickets() if ticket.key == key]
        if there:
            told = {"id": str(there[0].id), "external_ref": there[0].external_ref}
            await answer(review["id"], Verdict.EDITED, who="ann", value=told)
        else:
            await answer(review["id"], Verdict.APPROVED, who="ann")

    async def _hand_over(self) -> None:
        """The one at work is dead: time passes, and the one in waiting begins."""
        dead, heir = await self._staff()
        heir.watch.before_me = dead.watch
        self._working, self._waiting = heir, None
        dead.shut()
        await hot().execute(_EXPIRE, dead.id)
        await hot().execute(_STEADY, heir.id)
        sweeper = Sweeper(heir.id, crash_limit=3, heartbeat_s=BEAT_S, wake=lambda: None)
        await sweeper.sweep()
        await heir.watch.arm(None)
        heir.watch.may_claim.set()
        self._waiting = asyncio.create_task(self._hatch())

    async def close(self) -> None:
        """Shut every door; the nursery takes the workers along."""
        for hand in await self._staff():
            hand.shut()
            hand.hang_up()

    async def _staff(self) -> tuple[Hand, Hand]:
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._hatch())
        if self._working is None:
            self._working = await self._hatch()
        return self._working, await self._waiting

    async def _hatch(self) -> Hand:
        """A worker that takes nothing yet."""
        self._born += 1
        place = self.folder / f"{self._born}"
        place.mkdir()
        before, query = self.url.split("?host=")
        sockets, _, port = query.partition("&port=")
        watch = Watch()
        database = Door(
            watch, Path(sockets) / f".s.PGSQL.{port}", lambda: PostgresFrames(self.names)
        )
        desk = Door(watch, int(self.desk.url.rpartition(":")[2]), HttpFrames)
        await database.open(place)
        role = await journal.newcomer(hot())
        surroundings = SETTINGS | {
            "SLUICE_DATABASE_URL": f"{before}?host={place}&port={port}".replace(
                "postgres@", f"{role}@"
            ),
            URL: f"http://127.0.0.1:{await desk.open()}",
        }
        watch.pid = self.nursery.fork(surroundings, self.folder / "workers.log")
        found = await until(
            lambda: hot().fetchval("SELECT id FROM worker WHERE pid = $1", watch.pid)
        )
        return Hand(watch, (database, desk), found)


@asynccontextmanager
async def walker(server_url: str, folder: Path) -> AsyncIterator[Walker]:
    """A walker in a database of its own on this server."""
    name = f"walk_{uuid4().hex[:8]}"
    admin = await asyncpg.connect(dsn(server_url))
    await admin.execute(f"CREATE DATABASE {name}")
    url = server_url.replace("@/postgres?", f"@/{name}?")
    await migrate.upgrade(url)
    await open_database(url)
    try:
        await hot().execute(journal.INSTALL)
        await contract.publish(each.contract() for each in paths.PIPELINES.values())
        with (
            nursery("worker.pipelines", "tests.chaos.paths") as hatchery,
            started_desk(folder / "desk") as desk,
        ):
            it = Walker(url, hatchery, desk, folder)
            try:
                yield it
            finally:
                await it.close()
    finally:
        await close_database()
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await journal.forget_newcomers(admin)
        await admin.close()
