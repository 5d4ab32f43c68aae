"""`sluice gate`: the fleet's switch, as it stands, and opening it."""

from typing import Annotated

import typer

from models.gate import GateMode, fleet_gate, open_gate
from producer.connection import database, operator, run
from producer.tables import ago, console, plain

gate = typer.Typer(help="The fleet's switch: may writes start?", no_args_is_help=True)


@gate.command("show")
def show() -> None:
    """Say whether writes may start, since when, and why."""

    async def look() -> None:
        async with database():
            row = await fleet_gate()
            if row is None:
                console.print("the gate's row is missing: no write may start")
                raise typer.Exit(1)
            why = f" by {plain(row['who'])}: {plain(row['reason'])}" if row["who"] else ""
            console.print(f"{row['mode']}, since {ago(row['changed_at'])}{why}", highlight=False)

    run(look())


@gate.command("open")
def open_(
    reason: Annotated[str, typer.Option(help="Why it is safe again; kept with the gate.")],
) -> None:
    """Let writes start again; runs that waited for it go on by themselves."""

    async def act() -> None:
        async with database() as bell:
            opened = await open_gate(who=operator(), reason=reason)
            bell.ring()
            console.print(GateMode.OPEN if opened else "it was open already")

    run(act())
