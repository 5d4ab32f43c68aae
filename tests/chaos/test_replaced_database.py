"""A database that is not the one we wrote to: restored, or promoted in another's place."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from config import embedded
from models import migrate, timeline
from models.database import DatabaseUnfit, close_database, dsn, hot, open_database
from models.gate import GateMode, flip
from models.scope import FLEET
from tests.conftest import finished, fleet_of, until


@pytest.fixture
async def restorable(
    servers: embedded.Servers, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Path, str]]:
    """A PostgreSQL of our own, and the folder it lives in."""
    monkeypatch.setenv("SLUICE_EMBEDDED_REDIS", "off")
    root = Path(tempfile.mkdtemp(prefix="sluice-restored-"))
    root.chmod(0o755)
    try:
        url = (await asyncio.to_thread(embedded.start, root / "data")).database_url
        await migrate.upgrade(url)
        yield root / "data", url
    finally:
        await asyncio.to_thread(embedded.stop, root / "data")
        shutil.rmtree(root, ignore_errors=True)


async def restore(folder: Path) -> None:
    """Stop it and let it recover as from a backup: it ends up on a timeline of its own."""
    await asyncio.to_thread(embedded.stop, folder)
    (data,) = (each.parent for each in folder.rglob("postgresql.auto.conf"))
    owner = data.stat()
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write("restore_command = 'false'\n")
    signal = data / "recovery.signal"
    signal.touch(mode=0o600)
    if os.geteuid() == 0:
        os.chown(signal, owner.st_uid, owner.st_gid)
    await asyncio.to_thread(embedded.start, folder)


async def opened(url: str) -> bool:
    """Whether it takes writes yet."""
    try:
        await open_database(url)
    except DatabaseUnfit:
        return False
    return True


async def test_a_restored_database_stops_the_writes_until_an_operator_says_otherwise(
    restorable, submit, tmp_path
):
    folder, url = restorable
    with fleet_of(url, None, tmp_path) as fleet:
        worker = fleet.workers(1, WORKER__LEASE_S="3", WORKER__HEARTBEAT_S="1")[0]
        await open_database(url)
        try:
            await until(lambda: hot().fetchval("SELECT count(*) FROM worker"))
            await submit("one-ticket", {"n": 1}, key="before")
            await until(lambda: finished(1))

            await restore(folder)
            await close_database()
            await until(lambda: opened(url))
            await submit("one-ticket", {"n": 2}, key="after")
            await until(
                lambda: hot().fetchval("SELECT count(*) = 1 FROM run WHERE waiting_for = 'gate'")
            )
            gate = await hot().fetchrow("SELECT mode, epoch, who, reason FROM gate")
            notice = await hot().fetchrow("SELECT kind, told FROM notice")
            tickets = await hot().fetchval("SELECT count(*) FROM desk_ticket")
            await flip(FLEET, GateMode.OPEN, who="ann", reason="compared with the desk")
            await until(lambda: finished(2))

            assert tuple(gate)[:3] == ("read_only", 1, "sluice")
            assert notice["kind"] == "timeline"
            assert tickets == 1, "nothing was written before an operator had spoken"
            assert await hot().fetchval("SELECT count(*) FROM desk_ticket") == 2
            assert worker.poll() is None, fleet.logs()[-2000:]
        finally:
            await close_database()


async def test_a_restart_is_no_replacement(database):
    connection = await asyncpg.connect(dsn(database))
    try:
        for _ in range(3):
            await timeline.watch(connection)
    finally:
        await connection.close()

    assert await hot().fetchval("SELECT mode FROM gate") == "open"


async def test_whoever_connects_first_shuts_the_gate_and_the_others_find_it_shut(database):
    connections = [await asyncpg.connect(dsn(database)) for _ in range(6)]
    try:
        await timeline.watch(connections[0])
        await connections[0].execute("UPDATE timeline SET number = number + 1")
        modes = await asyncio.gather(*(watched(each) for each in connections))
    finally:
        for each in connections:
            await each.close()

    assert set(modes) == {"read_only"}
    assert await hot().fetchval("SELECT epoch FROM gate") == 1


async def watched(connection):
    await timeline.watch(connection)
    return await connection.fetchval("SELECT mode FROM gate")


async def test_an_ordinary_role_may_look_at_the_timeline(database):
    """Production does not run as a superuser."""
    admin = await asyncpg.connect(dsn(database))
    role = f"plain_{os.getpid()}"
    await admin.execute(f"CREATE ROLE {role}")
    await admin.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    try:
        await admin.execute(f"SET ROLE {role}")
        await timeline.watch(admin)
        await admin.execute("RESET ROLE")
        assert await admin.fetchval("SELECT count(*) FROM timeline") == 1
    finally:
        await admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await admin.close()
