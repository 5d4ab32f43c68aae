"""The schema that this code was written for, and whether a database has it.

Looking costs one query; the migrations themselves are run by a process of their own, so that no
server and no command carries the machinery for them.
"""

import asyncio
import os
import sys

import asyncpg

from models.database import DatabaseUnfit, dsn

NEWEST = "0014"
URL_VARIABLE = "SLUICE_MIGRATE_URL"
"""How the child is told: a command line could be read by others on this host."""


async def revision(url: str) -> str | None:
    """What the database is at; None before its first migration."""
    connection = await asyncpg.connect(dsn(url), timeout=10)
    try:
        if not await connection.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL"):
            return None
        found: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
        return found
    finally:
        await connection.close()


async def upgrade(url: str) -> str:
    """Apply what is missing; return the revision that the database is at now.

    Raises:
        DatabaseUnfit: A migration failed or timed out; it left nothing behind.
    """
    if await revision(url) != NEWEST:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "models.migrate",
            env=os.environ | {URL_VARIABLE: url},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, told = await child.communicate()
        if child.returncode != 0:
            last = told.decode(errors="replace").strip().splitlines()[-1:]
            raise DatabaseUnfit(f"the database could not be migrated: {' '.join(last)}")
    return NEWEST


async def ensure(url: str, *, embedded: bool) -> None:
    """Bring our own database up to date; of one that others run, only say that it is behind.

    Raises:
        DatabaseUnfit: It is behind. A newer one is fine: schemas expand before they contract, so
            that an old worker finishes its runs beside new ones.
    """
    if embedded:
        await upgrade(url)
        return
    found = await revision(url)
    if found is None or found < NEWEST:
        raise DatabaseUnfit(
            f"the database is at revision {found}, this code needs {NEWEST}:"
            " run `sluice db upgrade`"
        )
