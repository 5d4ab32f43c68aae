"""Commands that run pipelines."""

import os
import signal
import threading
from typing import Annotated

import structlog
import typer

from config import telemetry
from config.rulebook import rulebook
from config.settings import WorkerSettings, settings
from config.surroundings import servers
from worker.app import WorkerProcess
from worker.pipeline import Catalogue
from worker.sources import find

log = structlog.get_logger()


def worker(
    room: Annotated[
        int | None, typer.Option(help="Runs carried at a time; default worker.room.", min=1)
    ] = None,
    alone: Annotated[  # noqa: FBT002  # typer's flags
        bool,
        typer.Option("--alone", help="Only runs whose workers have died, one at a time; then end."),
    ] = False,
    tethered: Annotated[bool, typer.Option("--tethered", hidden=True)] = False,  # noqa: FBT002  # typer's flags
) -> None:
    """Run pipelines in this process until SIGTERM or Ctrl-C; it then drains and leaves."""
    if tethered:
        threading.Thread(target=_leave_with_our_parent, name="tether", daemon=True).start()
    own = settings()
    if room is not None:
        own = own.model_copy(update={"worker": own.worker.model_copy(update={"room": room})})
    policy = rulebook().file.policy  # one that is wrong is told here, in a sentence
    telemetry.configure(own, part="worker", policy=policy.logging)
    found = servers(own)
    process = WorkerProcess(
        own,
        _catalogue(own.worker),
        database_url=found.database_url,
        broker_url=found.broker_url,
        alone=alone,
    )
    raise typer.Exit(process.run())


def _leave_with_our_parent() -> None:
    """Drain when standard input ends: whoever started us holds its other end, and is gone."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _catalogue(own: WorkerSettings) -> Catalogue:
    """What this worker runs; what a package brought along and cannot be used, is told."""
    found = find(own.catalogues, packages=own.packages)
    for each in found.broken:
        if not each.asked:
            log.warning("catalogue.left_out", source=each.source, error=each.told, place=each.place)
    try:
        return found.usable()
    except ValueError as error:
        typer.echo(f"sluice: {error}", err=True)
        raise typer.Exit(2) from None
