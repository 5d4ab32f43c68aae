"""`sluice notices`: what needs a person."""

from typing import Annotated

import typer
from rich.table import Table

from models import notice
from producer.connection import database, run
from producer.tables import ago, console, legible


def notices(days: Annotated[int, typer.Option(help="How far back.", min=1, max=365)] = 7) -> None:
    """List what needed a person lately: doubts, pages, stranded runs, a replaced database."""

    async def look() -> None:
        async with database():
            await notice.collect()
            rows = await notice.latest(days)
        if not rows:
            console.print("nothing needs a person")
            return
        table = Table(box=None, pad_edge=False)
        for name in ("when", "kind", "sent", "what"):
            table.add_column(name, overflow="fold")
        for row in rows:
            sent = "yes" if row["sent_at"] else f"{row['tries']} tries" if row["tries"] else "no"
            table.add_row(ago(row["since"]), row["kind"], sent, legible(row["told"]))
        console.print(table)

    run(look())
