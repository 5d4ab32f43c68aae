"""`sluice breakers`: which tools are left alone just now, and holding one open or closed."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from models import breaker
from models.breaker import BreakerState
from producer.connection import database, operator, run
from producer.tables import ago, console, plain

breakers = typer.Typer(help="The tools' breakers: which are open, since when and why.")
Tool = Annotated[str, typer.Argument(help="The tool's name, such as ticket.create.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the audit and shown to whoever looks.")]


@breakers.callback(invoke_without_command=True)
def _breakers(context: typer.Context) -> None:
    """The tools' breakers: which are open, since when and why."""
    if context.invoked_subcommand is None:
        show()


@breakers.command("show")
def show() -> None:
    """Say of every breaker that was ever open how it stands; of the others there is none to say."""

    async def look() -> None:
        async with database():
            rows = await breaker.breakers()
        table = Table(box=None, pad_edge=False)
        for name in ("tool", "state", "since", "again in", "seen", "held by", "why"):
            table.add_column(name, overflow="fold")
        for row in rows:
            state = f"held {row['forced']}" if row["forced"] else row["state"]
            waits_s = row["opens"].total_seconds() if row["opens"] and not row["forced"] else 0
            table.add_row(
                plain(row["tool"]),
                Text(state, style="" if state == BreakerState.CLOSED else "red"),
                ago(row["since"]),
                f"{waits_s:.0f} s" if row["state"] == BreakerState.OPEN and waits_s else "",
                plain(row["told"]),
                plain(row["who"]) if row["forced"] else "",
                plain(row["reason"]) if row["forced"] else "",
            )
        console.print(table if rows else "no breaker was ever open")

    run(look())


@breakers.command("open")
def open_(tool: Tool, reason: Reason) -> None:
    """Hold it open: no call of this tool starts; runs wait, a quarter of an hour at most."""
    run(_force(tool, BreakerState.OPEN, reason))


@breakers.command("close")
def close(tool: Tool, reason: Reason) -> None:
    """Hold it closed: calls start whatever they come to. What waited comes back in cohorts."""
    run(_force(tool, BreakerState.CLOSED, reason))


@breakers.command("auto")
def auto(tool: Tool, reason: Reason) -> None:
    """Let it open and close by itself again. What waited comes back in cohorts."""
    run(_force(tool, None, reason))


async def _force(tool: str, state: BreakerState | None, reason: str) -> None:
    async with database() as bell:
        await breaker.force(tool, state, who=operator(), reason=reason)
        bell.ring()
    held = f"is held {state}" if state else "opens and closes by itself again"
    console.print(f"{plain(tool)} {held}; every worker knows within two seconds")
