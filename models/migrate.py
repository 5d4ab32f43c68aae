"""Bring a database to the newest schema; many processes may try at once.

Run as `python -m models.migrate`, with the URL in SLUICE_MIGRATE_URL.
"""

import asyncio
import os
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from models.schema import URL_VARIABLE

_TRY_LOCK = text("SELECT pg_try_advisory_lock(:lock)")
_LOCK = 0x511CE
"""Of all migrations: one migrates, the others wait and find nothing to do."""
_TIMEOUTS = {"lock_timeout": "5000", "statement_timeout": "60000"}
"""A migration that waits behind a long transaction gives up, instead of stopping the fleet."""
_PAUSE_S = 0.1


async def upgrade(url: str) -> str:
    """Apply what is missing; return the revision that the database is at now.

    Raises:
        sqlalchemy.exc.DBAPIError: A step timed out or failed; it left nothing behind.
    """
    engine = create_async_engine(
        url, poolclass=NullPool, connect_args={"server_settings": _TIMEOUTS}
    )
    try:
        async with engine.connect() as connection:
            while not await connection.scalar(_TRY_LOCK, {"lock": _LOCK}):  # noqa: ASYNC110  # another process holds it
                await asyncio.sleep(_PAUSE_S)  # another process holds it
            await connection.rollback()  # the lock is the session's and outlives it
            return await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def newest() -> str:
    """The revision this code was written for."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _upgrade(connection: Connection) -> str:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return MigrationContext.configure(connection).get_current_revision() or ""


if __name__ == "__main__":
    asyncio.run(upgrade(os.environ[URL_VARIABLE]))
