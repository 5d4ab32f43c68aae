"""`sluice connections`: whose target is where, and where the worker finds its secret."""

from typing import Annotated

import typer
from rich.table import Table

from models import connection
from models.connection import EVERYBODY, Target
from producer.connection import database, operator, run
from producer.tables import ago, console, plain

connections = typer.Typer(help="Where tools find their targets, for everybody or one tenant.")
Name = Annotated[str, typer.Argument(help="What tools call it, such as tickets.")]
Tenant = Annotated[str, typer.Option(help="Whose; without it, of all who have none of their own.")]


@connections.callback(invoke_without_command=True)
def _connections(context: typer.Context) -> None:
    """Where tools find their targets, for everybody or one tenant."""
    if context.invoked_subcommand is None:
        list_()


@connections.command("list")
def list_() -> None:
    """List every connection; of a secret, only where it is to be found."""

    async def look() -> None:
        async with database():
            rows = await connection.connections()
        table = Table(box=None, pad_edge=False)
        for name in ("tenant", "name", "url", "user", "secret", "private", "by", "since"):
            table.add_column(name, overflow="fold")
        for row in rows:
            shown = [plain(row[key]) for key in ("tenant", "name", "base_url", "login", "secret")]
            private = "may be" if row["private"] else ""
            table.add_row(*shown, private, plain(row["who"]), ago(row["changed_at"]))
        console.print(table if rows else "there are none: tools go where their settings say")

    run(look())


@connections.command("set")
def set_(
    name: Name,
    url: Annotated[str, typer.Option(help="Of the target: http(s)://HOST[:PORT][/PATH].")],
    tenant: Tenant = EVERYBODY,
    user: Annotated[str, typer.Option(help="Who we are there.")] = "",
    secret: Annotated[
        str,
        typer.Option(
            help="Where workers find it: env:NAME or file:/path. Never the secret itself."
        ),
    ] = "",
    *,
    private: Annotated[
        bool, typer.Option("--private", help="It may be on this host or in a private network.")
    ] = False,
) -> None:
    """Name a target, or change it; with a secret and no user, that is sent as a bearer's token."""

    async def put() -> None:
        async with database():
            target = Target(tenant, name, url, user, secret, private)
            await connection.put(target, who=operator())
        console.print(f"{plain(name)} of {_whose(tenant)} is {plain(url)}; {_WHEN}")

    run(put())


@connections.command("remove")
def remove(name: Name, tenant: Tenant = EVERYBODY) -> None:
    """Take it away: what is everybody's holds again, or what the tool's settings say."""

    async def take() -> None:
        async with database():
            await connection.remove(tenant, name, who=operator())
        console.print(f"{_whose(tenant)} has no {plain(name)} any more; {_WHEN}")

    run(take())


_WHEN = "every worker knows within five seconds"


def _whose(tenant: str) -> str:
    return "everybody" if tenant == EVERYBODY else str(plain(tenant))
