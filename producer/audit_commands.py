"""`sluice audit`: what operators did, and whether that record is whole."""

from typing import Annotated
from uuid import UUID

import typer
from rich.table import Table

from models import call_audit
from models.audit import Act, BrokenChain, latest, lines, verify
from producer.connection import database, run
from producer.redacted import shown
from producer.tables import ago, console, plain

audit = typer.Typer(help="What operators did, and the fleet in their place; only added to.")
Count = Annotated[int, typer.Option(help="At most so many lines.", min=1)]


@audit.callback(invoke_without_command=True)
def _audit(context: typer.Context, limit: Count = 50) -> None:
    """What operators did, and the fleet in their place, newest first."""
    if context.invoked_subcommand is None:
        run(_show(limit))


@audit.command("verify")
def check(
    head: Annotated[
        str | None, typer.Option(help="A hash noted earlier; it must be in the chain.")
    ] = None,
) -> None:
    """Walk the whole chain of hashes; exit code 1 when a line was changed or taken out.

    Note the hash that this prints somewhere else: cutting lines off at the end is seen only by
    whoever knows a hash that was there.
    """
    try:
        noted = bytes.fromhex(head) if head is not None else None
    except ValueError:
        raise typer.BadParameter("a head is the hexadecimal hash of a line") from None

    async def walk() -> None:
        async with database():
            try:
                last = await verify(noted)
                async for line in lines():
                    if line.act == Act.CALLS:
                        await call_audit.check(line.seq, line.about)
            except BrokenChain as broken:
                console.print(f"the audit is broken: {broken}", highlight=False, style="red")
                raise typer.Exit(1) from None
        told = f"{last.seq:,} lines, all whole; head {last.hash.hex()}" if last else "no lines yet"
        console.print(told, highlight=False, soft_wrap=True)

    run(walk())


@audit.command("calls")
def calls(run_id: Annotated[UUID, typer.Argument(metavar="RUN", help="The run's id.")]) -> None:
    """What the guards said of a run's calls: refusals, and sensitive calls before they left."""

    async def show() -> None:
        async with database():
            rows = await call_audit.of_run(run_id)
        table = Table(box=None, pad_edge=False)
        for name in ("when", "step", "tool", "guard", "reason", "told", "policy", "line"):
            table.add_column(name, overflow="fold")
        for row in rows:
            words = (row["step"], row["tool"], row["guard"], row["reason"], row["told"])
            line = "" if row["sealed"] is None else str(row["sealed"])
            table.add_row(ago(row["at"]), *map(plain, words), row["policy"], line)
        console.print(table if rows else "no guard has said anything of this run's calls")

    run(show())


async def _show(limit: int) -> None:
    async with database():
        rows = await latest(limit)
    table = Table(box=None, pad_edge=False)
    for name in ("line", "when", "who", "what", "about"):
        table.add_column(name, overflow="fold")
    for row in rows:
        about = shown(row.about.encode())
        told = ", ".join(f"{key} {value}" for key, value in about.items())
        table.add_row(str(row.seq), ago(row.at), plain(row.who), row.act, plain(told))
    console.print(table if rows else "nothing was done yet")
