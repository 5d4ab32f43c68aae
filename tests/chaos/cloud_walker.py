"""The walk of `cost-alert`: a blow at one request of a run, and what the cloud then has."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from aiohttp import web

from models import contract, migrate
from models.admission import Admission
from models.database import close_database, dsn, hot, open_database
from models.request import Request
from samples.cloud import Cloud, Instance
from tests.chaos.boundaries import Boundary, Strike, Watch
from tests.chaos.doors import Door
from tests.chaos.frames import HttpFrames, PostgresFrames
from tests.chaos.nursery import nursery
from tests.chaos.walker import SETTINGS, Hand, Walker
from tests.conftest import until
from worker.pipelines import PIPELINES

KEPT, TAKEN_BACK = "kept", "taken-back"
"""The two ways of a run: what is stopped stays so, or is not seen to have stopped."""
_FINISH_S, _BLOW_S = 60.0, 2.0


@dataclass
class TwoFaced(Cloud):
    """Of some instances it says that they have stopped, and they run on."""

    def _change(self, found: Instance, verb: str, key: str, body: Any) -> tuple[int, Any]:
        status, told = super()._change(found, verb, key, body)
        if verb == "stop" and found.id.startswith(f"i-{TAKEN_BACK}"):
            found.state = "running"
        return status, told


@dataclass
class CloudWalker(Walker):
    """Two workers, one at work and one in waiting, and a cloud."""

    cloud: TwoFaced = field(default_factory=TwoFaced)
    port: int = 0

    async def strike(self, path: str, strike: Strike | None) -> list[str]:
        """What is wrong after a blow; nothing, if all is as if it had not been."""
        hand, _ = await self._staff()
        run = await self._walk(hand, path, strike)
        row = await hot().fetchrow("SELECT stop_reason, detail, result FROM run WHERE id = $1", run)
        instance = await hot().fetchval("SELECT input->>'instance_id' FROM run WHERE id = $1", run)
        did = {verb: self._effects(instance, verb) for verb in ("snapshots", "stop", "start")}
        back = path == TAKEN_BACK
        wrong = []
        if did != {"snapshots": 1, "stop": 1, "start": int(back)}:
            wrong.append(f"{strike}: {did}")
        if row["stop_reason"] != "success":
            wrong.append(f"{strike}: {row['stop_reason']} {row['detail']}")
        if self.cloud.instances[instance].state != ("running" if back else "stopped"):
            wrong.append(f"{strike}: it is {self.cloud.instances[instance].state}")
        used = await hot().fetch("SELECT used_at FROM review WHERE run_id = $1", run)
        if [each["used_at"] is not None for each in used] != [True]:
            wrong.append(f"{strike}: {len(used)} approvals")
        if strike is not None and not hand.watch.struck.is_set():
            wrong.append(f"{strike} was never reached")
        return wrong

    async def boundaries(self, path: str) -> list[Boundary]:
        """Of an undisturbed run."""
        hand, _ = await self._staff()
        for _ in range(2):  # the first clears away what the last strike has left in the worker
            assert await self.strike(path, None) == []
        hand.watch.may_claim.clear()
        await hand.watch.rest()
        return list(hand.watch.seen)

    def _effects(self, instance: str, verb: str) -> int:
        return sum(
            each.first and each.status < 400 and each.path == f"/instances/{instance}/{verb}"
            for each in self.cloud.requests
            if each.method == "POST"
        )

    async def _walk(self, hand: Hand, path: str, strike: Strike | None) -> UUID:
        await hand.watch.arm(strike)
        name = f"i-{path}-{uuid4().hex[:12]}"
        usd = "412.50"
        self.cloud.instances[name] = Instance(name, "walked", "running", ("sandbox",), usd)
        given = {"id": name, "instance_id": name, "text": "it is idle"}
        run_id = (await self._admit(Request("acme", name, "cost-alert", given))).run_id
        hand.watch.may_claim.set()
        try:
            await until(partial(self._over, run_id), within_s=_FINISH_S)
        except AssertionError as error:
            row = await hot().fetchrow("SELECT * FROM run WHERE id = $1", run_id)
            raise AssertionError(f"{strike}: it does not end: {row}") from error
        if strike is not None:
            with contextlib.suppress(TimeoutError):  # the run may be over a moment before the blow
                await asyncio.wait_for(hand.watch.struck.wait(), _BLOW_S)
        if self._working is hand and hand.watch.killed:
            await self._hand_over()
        if self._working is not hand:
            hand.hang_up()  # by now, what was to come late has come
        return run_id

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
        cloud = Door(watch, self.port, HttpFrames)
        await database.open(place)
        surroundings = SETTINGS | {
            "SLUICE_DATABASE_URL": f"{before}?host={place}&port={port}",
            "SLUICE_WORKER__CATALOGUES": '["worker.pipelines"]',
            "SLUICE_CLOUD__URL": f"http://127.0.0.1:{await cloud.open()}",
        }
        watch.pid = self.nursery.fork(surroundings, self.folder / "workers.log")
        found = await until(
            lambda: hot().fetchval("SELECT id FROM worker WHERE pid = $1", watch.pid)
        )
        return Hand(watch, (database, cloud), found)


@asynccontextmanager
async def cloud_walker(server_url: str, folder: Path) -> AsyncIterator[CloudWalker]:
    """A walker in a database of its own on this server."""
    name = f"walk_{uuid4().hex[:8]}"
    admin = await asyncpg.connect(dsn(server_url))
    await admin.execute(f"CREATE DATABASE {name}")
    url = server_url.replace("@/postgres?", f"@/{name}?")
    await migrate.upgrade(url)
    await open_database(url)
    cloud = TwoFaced()
    runner = web.AppRunner(cloud.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        await contract.publish(each.contract() for each in PIPELINES.values())
        with nursery("worker.pipelines") as hatchery:
            it = CloudWalker(
                url, hatchery, None, folder, cloud=cloud, port=runner.addresses[0][1],
                _admit=Admission(patience_s=5),
            )  # fmt: skip
            try:
                yield it
            finally:
                await it.close()
    finally:
        await runner.cleanup()
        await close_database()
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()
