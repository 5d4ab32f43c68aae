"""`sluice spend`: what was spent and is reserved, by day."""

from typing import Annotated

import typer
from rich.table import Table

from config.policy_file import read
from config.settings import settings
from models.spend import spending
from producer.connection import database, run
from producer.tables import console, plain


def spend(days: Annotated[int, typer.Option(help="How far back.", min=1, max=365)] = 7) -> None:
    """Show what the fleet and each tenant spent and have reserved, in US dollars by UTC day."""

    async def look() -> None:
        async with database():
            rows = await spending(days)
        if not rows:
            console.print("nothing was spent")
            return
        policy = read(settings().policy).policy
        table = Table(box=None, pad_edge=False)
        for name in ("day", "whose", "spent", "reserved", "overrun", "ceiling"):
            table.add_column(name, overflow="fold", justify="right" if name != "whose" else "left")
        for row in rows:
            tenant = row["scope"].partition(":")[2]
            own = policy.of(tenant, "").spend
            ceiling = own.tenant_usd_per_day if tenant else own.fleet_usd_per_day
            table.add_row(
                str(row["day"]), plain(row["scope"]), f"{row['spent']:.4f}",
                f"{row['reserved']:.4f}", f"{row['overrun']:.4f}" if row["overrun"] else "",
                "none" if ceiling is None else f"{ceiling:.2f}",
            )  # fmt: skip
        console.print(table)

    run(look())
