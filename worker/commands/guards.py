"""`sluice guards`: which guards are proven; `verify` tries each of them, in the real gateway."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, TypeVar

import asyncpg
import orjson
import structlog
import typer
import uvloop
from rich.console import Console
from rich.table import Table
from rich.text import Text

from config.rulebook import rulebook
from config.settings import settings
from config.surroundings import servers
from models import schema
from models.database import DatabaseUnfit, close_database, open_database
from models.gate import GateBusy
from models.guard import Guard, standing
from models.shadow import Busy
from worker.trials.verify import Proof, verify

X = TypeVar("X")

guards = typer.Typer(help="The guards that every call passes, and whether each is proven.")
console = Console(markup=False)
_MARKS = {True: ("proven", "green"), False: ("NOT PROVEN", "red"), None: ("not tried", "yellow")}


@guards.callback(invoke_without_command=True)
def _guards(context: typer.Context) -> None:
    """The guards that every call passes, and whether each is proven."""
    if context.invoked_subcommand is None:
        show()


@guards.command("show")
def show() -> None:
    """Say of every guard how often it said no, and what its last trial has found."""

    async def look(_: str | None) -> None:
        known = {each.name: each for each in await standing()}
        table = _table("guard", "refused", "last", "proven", "tried", "seen")
        for guard in Guard:
            each = known.get(guard)
            tried = each is not None and each.proven_at is not None
            table.add_row(
                guard, str(each.refused if each else 0),
                f"{each.last_at:%Y-%m-%d %H:%M}" if each and each.last_at else "",
                Text(*_MARKS[each.proven if each and tried else None]),
                f"{each.proven_at:%Y-%m-%d %H:%M}" if each and tried else "",
                each.told if each else "",
            )  # fmt: skip
        console.print(table)

    _run(look)


@guards.command("verify")
def verify_(
    guard: Annotated[
        list[Guard] | None, typer.Option(help="Only this one; may be given several times.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,  # noqa: FBT002  # typer's flags
) -> None:
    """Try every guard: what it must refuse, and what it must let pass.

    Synthetic tools and a tenant of their own, the real gateway; safe beside a working fleet.
    Exit code 1: one was tried and is not proven. What cannot be tried now (in safe mode) is said.
    """
    policy = rulebook().file.policy

    async def try_out(broker_url: str | None) -> list[Proof]:
        return await verify(
            settings().worker,
            broker_url=broker_url,
            fleet_usd=policy.spend.fleet_usd_per_day,
            only=guard or tuple(Guard),
        )

    proofs = _run(try_out)
    if as_json:
        found = [each._asdict() for each in proofs]
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    else:
        console.print(_report(proofs))
    if any(each.proven is False for each in proofs):
        raise typer.Exit(1)


def _report(proofs: Sequence[Proof]) -> Table:
    table = _table("guard", "", "tried", "seen", "took")
    for each in proofs:
        table.add_row(
            each.guard, Text(*_MARKS[each.proven]), each.tried, each.told, f"{each.took_s:.2f} s"
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _run(command: Callable[[str | None], Awaitable[X]]) -> X:
    """Run a command to its end, without log lines; it is told the broker's URL."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_with_database(command))
    except (Busy, GateBusy, LookupError) as error:
        told = str(error)
    except (DatabaseUnfit, asyncpg.PostgresError, OSError) as error:
        told = f"the database cannot be worked with: {str(error) or type(error).__name__}"
    typer.echo(f"sluice: {told}", err=True)
    raise typer.Exit(1)


async def _with_database(command: Callable[[str | None], Awaitable[X]]) -> X:
    own = settings()
    found = await asyncio.to_thread(servers, own)
    await schema.ensure(found.database_url, embedded=own.embedded)
    await open_database(found.database_url, connections=own.worker.connections)
    try:
        return await command(found.broker_url)
    finally:
        await close_database()
