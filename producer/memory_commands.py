"""`sluice memory`: what runs remember of a tenant, where it came from, and how it is taken away."""

from typing import Annotated, Any

import orjson
import typer
from rich.table import Table

from models import memory as remembered
from models.memory import Scope
from models.tenant import LOCAL
from producer.connection import database, operator, run
from producer.redacted import shown
from producer.tables import ago, console, plain

memory = typer.Typer(help="What runs remember, and for how long.", no_args_is_help=True)
Tenant = Annotated[str, typer.Option(help="Whose memory.")]
Whose = Annotated[
    str | None, typer.Option("--scope", help="tenant, user:NAME or session:NAME; no wildcards.")
]
_SHOWN_CHARS = 120


@memory.command("list")
def list_(
    tenant: Tenant = LOCAL,
    scope: Whose = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    whole: Annotated[  # noqa: FBT002  # typer's flags
        bool, typer.Option("--whole", help="Hide nothing: secrets in values too.")
    ] = False,
) -> None:
    """List what is remembered: until when, how far it is trusted, and which run it is from."""

    async def look() -> None:
        async with database():
            rows = await remembered.kept(tenant, _scope(scope), limit=limit)
        table = Table(box=None, pad_edge=False)
        for name in ("scope", "key", "value", "trust", "from", "written", "expires"):
            table.add_column(name, overflow="fold")
        for row in rows:
            value = orjson.dumps(shown(row["value"], whole=whole)).decode()
            origin = f"{row['pipeline']}, step {row['step']} of {row['run_id']}"
            until = "expired" if row["expired"] else f"{row['expires_at']:%Y-%m-%d %H:%M} UTC"
            cells = (row["scope"], row["key"], value[:_SHOWN_CHARS], _trust(row["labels"]), origin)
            table.add_row(*(plain(each) for each in cells), ago(row["written_at"]), until)
        console.print(table if rows else "nothing is remembered there")

    run(look())


@memory.command("purge")
def purge(
    tenant: Tenant = LOCAL,
    scope: Whose = None,
    key: Annotated[str | None, typer.Option(help="Only this one of the scope.")] = None,
    everything: Annotated[  # noqa: FBT002  # typer's flags
        bool, typer.Option("--all", help="All that is remembered of the tenant.")
    ] = False,
) -> None:
    """Take memory away, now and with a line in the audit; steps on record keep what they recalled
    until their run is purged."""
    if (scope is None) != everything or (key is not None and scope is None):
        raise typer.BadParameter("say --scope SCOPE, with --key KEY if you like, or --all")

    async def take() -> None:
        async with database():
            count = await remembered.purge(tenant, _scope(scope), key, who=operator())
        what = "1 memory" if count == 1 else f"{count:,} memories"
        console.print(f"{what} of {plain(tenant)} {'is' if count == 1 else 'are'} gone")

    run(take())


def _scope(said: str | None) -> Scope | None:
    if said is None:
        return None
    kind, _, name = said.partition(":")
    scope = Scope(kind, name)
    remembered.check(scope, "any")
    return scope


def _trust(labels: bytes) -> str:
    told: dict[str, Any] = orjson.loads(labels)
    return ", ".join(f"{at} {each['trust']}" for at, each in told.items()) or "untrusted"
