"""The second wall: what keeps tenants' memories apart when a query forgets to name the tenant."""

from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest

from models import memory, migrate
from models.database import close_database, dsn, hot, open_database
from models.memory import TENANT, Wall, kept, wall, within
from tests.terminal import terminal
from worker.keeping import Wanted, find

_ROW = """
    INSERT INTO memory (tenant, scope, key, value, labels, run_id, step, pipeline, expires_at)
    VALUES ($1, 'tenant', 'k', '1', '{}', gen_random_uuid(), 's', 'p', now() + interval '1 h')
"""
UNFILTERED = "SELECT tenant FROM memory"


@asynccontextmanager
async def inside(tenant):
    """A transaction within one tenant's wall."""
    async with (
        hot().acquire() as connection,
        connection.transaction(),
        within(connection, tenant),
    ):
        yield connection


async def put(*tenants):
    for tenant in tenants:
        async with inside(tenant) as connection:
            await connection.execute(_ROW, tenant)


async def forges(statement):
    """Somebody within another tenant's wall writes what is to be acme's."""
    async with inside("umbrella") as connection:
        await connection.execute(statement, "acme")


@asynccontextmanager
async def someone(servers, options, *, after=""):
    """A database of their own, for a login with these options; they bring it up to date."""
    name = f"wall_{uuid4().hex[:8]}"
    admin = await asyncpg.connect(dsn(servers.database_url))
    await admin.execute(f"CREATE ROLE {name} LOGIN {options}")
    await admin.execute(f"CREATE DATABASE {name} OWNER {name}")
    url = servers.database_url.replace("@/postgres?", f"@/{name}?")
    try:
        own = url.replace("postgres@", f"{name}@")
        await migrate.upgrade(own)
        if after:
            there = await asyncpg.connect(dsn(url))
            await there.execute(after.format(name=name))
            await there.close()
        await open_database(own, connections=2)
        try:
            yield name
        finally:
            await close_database()
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.execute(f"DROP ROLE {name}")
        await admin.close()


async def stands():
    """Whether a query without a tenant in it sees one tenant alone, and writes for it alone."""
    await put("acme", "umbrella")
    async with hot().acquire() as connection:
        async with connection.transaction(), within(connection, "acme"):
            seen = [row[0] for row in await connection.fetch(UNFILTERED)]
            changed = await connection.execute("UPDATE memory SET value = '2'")
            gone = await connection.execute("DELETE FROM memory")
        async with connection.transaction(), within(connection, "umbrella"):
            left = [row["value"] for row in await connection.fetch("SELECT * FROM memory")]
        assert await connection.fetchval("SELECT current_setting('sluice.tenant')") == ""
    for forged in (_ROW, "UPDATE memory SET tenant = $1"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await forges(forged)
    return (seen, changed, gone, left) == (["acme"], "UPDATE 1", "DELETE 1", [b"1"])


async def test_a_query_that_forgets_the_tenant_sees_one_tenant_alone(database):
    """Our login here is a superuser, whom no policy binds: it takes on a role that is bound."""
    assert await wall() is Wall.ROLE
    assert await stands()


async def test_outside_of_its_transaction_nobody_is_somebody(database):
    await put("acme")

    async with hot().acquire() as connection:
        async with connection.transaction(), within(connection, "acme"):
            assert await connection.fetchval("SELECT current_user") == memory.ROLE
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with connection.transaction():
                    await connection.fetch("SELECT * FROM run")
        after = await connection.fetchrow(
            "SELECT current_user = session_user, current_setting('sluice.memory')"
        )
    assert tuple(after) == (True, "")


async def test_who_had_taken_on_a_role_has_it_afterwards(database):
    async with hot().acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL ROLE postgres")
        async with within(connection, "acme"):
            assert await connection.fetchval("SELECT current_user") == memory.ROLE
        assert await connection.fetchval("SELECT current_setting('role')") == "postgres"


async def test_whoever_enters_as_nobody_sees_nothing(database):
    await put("acme")

    async with hot().acquire() as connection, connection.transaction():
        for nobody in ("", "*", "%", "ACME", "acme "):
            async with within(connection, nobody):
                assert await connection.fetch(UNFILTERED) == []


async def test_who_purges_sees_what_has_expired_and_writes_nothing(database):
    await put("acme", "umbrella")
    await hot().execute("UPDATE memory SET expires_at = now() WHERE tenant = 'umbrella'")

    async with (
        hot().acquire() as connection,
        connection.transaction(),
        memory._among_the_expired(connection),
    ):
        assert [row[0] for row in await connection.fetch(UNFILTERED)] == ["umbrella"]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with connection.transaction():
                await connection.execute(_ROW, "evil")
    assert await memory.expire() == 1
    assert [row["key"] for row in await kept("acme", TENANT, limit=9)] == ["k"]


@pytest.mark.parametrize(
    ("options", "after", "how"),
    [
        ("NOSUPERUSER NOCREATEROLE", "", Wall.OWN),
        ("NOSUPERUSER CREATEROLE", "", Wall.OWN),
        ("NOSUPERUSER BYPASSRLS", f"GRANT {memory.ROLE} TO {{name}}", Wall.ROLE),
        ("SUPERUSER", "", Wall.ROLE),
    ],
)
async def test_it_stands_for_every_login_that_may_take_on_the_role_or_is_bound_itself(
    servers, database, options, after, how
):
    """As on a managed PostgreSQL, where we are no superuser and may perhaps make no role."""
    async with someone(servers, options, after=after):
        assert await wall() is how
        assert await stands()


@pytest.mark.parametrize(
    ("options", "after"),
    [
        ("NOSUPERUSER BYPASSRLS", ""),
        ("SUPERUSER", f"REVOKE INSERT ON memory FROM {memory.ROLE}"),
        ("SUPERUSER", "ALTER TABLE memory DISABLE ROW LEVEL SECURITY"),
    ],
)
async def test_where_it_does_not_stand_memory_works_and_the_doctor_says_so(
    servers, database, options, after
):
    async with someone(servers, options, after=after) as name:
        assert await wall() is Wall.NONE
        await put("acme")
        assert [row["key"] for row in await kept("acme", TENANT, limit=9)] == ["k"]
        assert await kept("umbrella", TENANT, limit=9) == []
        wanted = [Wanted(each, "tenant", "k") for each in ("umbrella", "acme")]
        assert [found is not None for found in await find(wanted)] == [False, True]
        assert await memory.purge("umbrella", None, None, who="ada") == 0
        url = servers.database_url.replace("@/postgres?", f"@/{name}?")
        own = url.replace("postgres@", f"{name}@")
        async with terminal(own) as elsewhere:
            said = await elsewhere("doctor")
    assert "only its queries keep tenants' memories apart" in said.out
    assert "sluice_memory" in said.out


async def test_the_doctor_says_that_it_stands(sluice):
    said = await sluice("doctor")

    assert "two walls between tenants" in said.out
