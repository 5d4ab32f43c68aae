"""`sluice create-key`, `doctor` and `db`: keeping an installation well."""

import asyncio
from typing import Annotated

import typer

from config.settings import settings
from config.surroundings import servers
from models import schema
from models.tenant import create_key
from producer.connection import database, operator, run
from producer.doctor import examine
from producer.tables import console

db = typer.Typer(help="The database's schema.", no_args_is_help=True)


def create_api_key(
    tenant: Annotated[str, typer.Argument(help="The tenant's name.")],
    powerful: Annotated[  # noqa: FBT002  # typer's flags
        bool, typer.Option("--operator", help="It may flip the gate of every scope.")
    ] = False,
) -> None:
    """Make an API key for a tenant; it is shown this once."""

    async def make() -> None:
        async with database():
            key = await create_key(tenant, who=operator(), operator=powerful)
            console.print(key, highlight=False)

    run(make())


def doctor() -> None:
    """Say what this installation has, what it lacks, and what that means."""
    raise typer.Exit(0 if asyncio.run(examine(settings())) else 1)


@db.callback()
def _db() -> None:
    """The database's schema."""


@db.command("upgrade")
def upgrade() -> None:
    """Bring the database to the newest schema. Safe to repeat, and to run from many places."""
    revision = asyncio.run(schema.upgrade(servers(settings()).database_url))
    console.print(f"the database is at revision {revision}", highlight=False)
