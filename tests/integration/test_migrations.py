"""The schema: made by migrations, the same on every PostgreSQL we name."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel

from config.embedded import postgres_bin
from models import (  # noqa: F401  # each registers its table
    agreement,
    audit,
    autonomy,
    breaker,
    call_audit,
    contract,
    fleet,
    gate,
    guard,
    ledger,
    memory,
    migrate,
    notice,
    pulse,
    refusal,
    request_key,
    review,
    run,
    spend,
    tenant,
    timeline,
    tombstone,
    transcript,
)
from models import connection as connection_table  # noqa: F401  # the same
from models import schema as schema_of_code
from models.database import close_database, dsn, hot, open_database
from tests.conftest import lacking
from tools.tickets import desk  # noqa: F401  # registers its table

MAJORS = (15, 16, 17, 18)


def binaries(major: int) -> Path | None:
    """Where this PostgreSQL is: in the wheel beside ours, or where Debian keeps it."""
    wheel = postgres_bin().parent.parent
    in_wheel = {16: wheel / "pginstall" / "bin", 18: postgres_bin()}
    places = (
        in_wheel.get(major, postgres_bin() / "none"),
        Path(f"/usr/lib/postgresql/{major}/bin"),
    )
    return next((each for each in places if (each / "initdb").exists()), None)


@pytest.fixture(params=MAJORS)
def server(request) -> Iterator[str]:
    """A throw-away server of one major version."""
    bin_ = binaries(request.param)
    if bin_ is None:
        lacking(f"postgresql-{request.param}", "it is not installed here")
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    folder.chmod(0o755)
    home = folder / "x"
    home.mkdir()
    who = {}
    if os.getuid() == 0:
        shutil.chown(home, "nobody")
        who = {"user": "nobody", "extra_groups": []}

    def control(program: str, *arguments: object) -> None:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = [bin_ / program, "-D", home / "d", *map(str, arguments)]
        subprocess.run(command, check=True, cwd="/", **quiet, **who)

    control("initdb", "-U", "postgres", "-A", "trust", "--no-sync")
    options = f"-c listen_addresses= -k {home} -c fsync=off"
    control("pg_ctl", "-w", "-l", home / "log", "-o", options, "start")
    try:
        yield f"postgresql+asyncpg://postgres@/postgres?host={home}&port=5432"
    finally:
        control("pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


async def test_every_postgresql_we_name_gets_the_schema_and_carries_it(server):
    admin = await asyncpg.connect(dsn(server))
    await admin.execute("CREATE ROLE maker LOGIN CREATEROLE BYPASSRLS")
    await admin.execute("CREATE DATABASE maker OWNER maker")
    await admin.close()
    makers = server.replace("postgres@/postgres?", "maker@/maker?")

    for url in (makers, server):  # whoever may make roles makes the one of memory
        assert await migrate.upgrade(url) == migrate.newest()
        await open_database(url)
        try:
            assert await memory.wall() is memory.Wall.ROLE
            assert await memory.kept("acme", None, limit=1) == []
        finally:
            await close_database()


def test_the_code_knows_the_newest_migration():
    assert migrate.newest() == schema_of_code.NEWEST


async def test_many_processes_migrating_at_once_do_it_once(servers):
    admin = await asyncpg.connect(dsn(servers.database_url))
    name = f"many_{uuid4().hex[:8]}"
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    url = servers.database_url.replace("@/postgres?", f"@/{name}?")

    revisions = await asyncio.gather(*(migrate.upgrade(url) for _ in range(6)))

    assert set(revisions) == {migrate.newest()}


async def test_the_tables_are_what_the_models_say(schema):
    engine = create_async_engine(schema)

    async with engine.connect() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync), SQLModel.metadata)
        )
    await engine.dispose()

    assert [str(each) for each in differences] == []


async def test_every_connection_reads_committed_whatever_the_databases_default_is(schema):
    admin = await asyncpg.connect(dsn(schema))
    name = await admin.fetchval("SELECT current_database()")
    await admin.execute(
        f"ALTER DATABASE {name} SET default_transaction_isolation TO 'repeatable read'"
    )
    try:
        await open_database(schema, connections=3)
        try:
            levels = await asyncio.gather(*(_level() for _ in range(3)))
        finally:
            await close_database()
        assert set(levels) == {"read committed"}
    finally:
        await admin.execute(f"ALTER DATABASE {name} RESET default_transaction_isolation")
        await admin.close()


async def _level() -> str:
    """Of some connection of the pool, while others are in use too."""
    async with hot().acquire() as connection:
        await connection.execute("SELECT pg_sleep(0.2)")
        return await connection.fetchval("SHOW transaction_isolation")
