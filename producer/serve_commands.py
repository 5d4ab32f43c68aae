"""`sluice up`, `api` and `down`: starting and stopping what serves."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from config import embedded, telemetry
from config.embedded import Servers
from config.settings import Settings, settings
from config.surroundings import servers
from models import schema
from models.database import close_database, open_database
from models.tenant import LOCAL, create_key
from producer import app as api_app
from producer.children import Children
from producer.connection import run
from producer.tables import console

_DRAIN_MARGIN_S = 10
_LOOK_S = 1.0


def up(
    workers: Annotated[int, typer.Option(help="Worker processes.", min=0)] = 2,
) -> None:
    """Start everything here: servers (unless configured), the API and workers. Ctrl-C drains."""
    own = settings()
    telemetry.configure(own, part="api")
    found = servers(own)
    socket = None
    if own.embedded:
        key = asyncio.run(_local_key(own, found.database_url))
        socket = own.data / "api.sock"
        console.print(f"API  http://{own.api.host}:{own.api.port}  key in {key}", highlight=False)
        console.print(f"     or without a key over the socket {socket}", highlight=False)
    with Children(workers, drain_s=own.worker.grace_s + _DRAIN_MARGIN_S) as children:
        run(_serve(own, found, socket, children))


def api() -> None:
    """Run the API alone, in this process."""
    own = settings()
    telemetry.configure(own, part="api")
    found = servers(own)
    socket = own.data / "api.sock" if own.embedded else None
    run(
        api_app.serve(
            own, database_url=found.database_url, broker_url=found.broker_url, socket=socket
        )
    )


def down() -> None:
    """Stop the embedded servers; what they hold stays in the data folder."""
    embedded.stop(settings().data)


async def _serve(own: Settings, found: Servers, socket: Path | None, children: Children) -> None:
    """The API until it is told to stop, and workers that are replaced when they die."""
    mending = asyncio.create_task(_mend(children))
    try:
        await api_app.serve(
            own, database_url=found.database_url, broker_url=found.broker_url, socket=socket
        )
    finally:
        mending.cancel()


async def _mend(children: Children) -> None:
    """Say who died, and start another; say so once too when nobody is replaced any more."""
    lost = 0
    while True:
        await asyncio.sleep(_LOOK_S)
        if replaced := children.mend():
            console.print(f"workers that died and were replaced: {replaced}", style="yellow")
        if (died := len(children.died())) > lost:
            told = f"{died} worker(s) died again and again and are not replaced any more"
            console.print(
                f"{told}: look at the log above, then start `sluice up` again", style="red"
            )
        lost = died


async def _local_key(own: Settings, database_url: str) -> Path:
    """The API key of the local tenant, made at the first start, readable to the owner alone."""
    path = own.data / "api_key"
    if not path.exists():  # before anything is served
        await schema.ensure(database_url, embedded=True)
        await open_database(database_url, connections=1)
        try:
            key = await create_key(LOCAL, who="sluice up")
        finally:
            await close_database()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(key + "\n")
    return path
