"""`sluice triage`: one command over a whole backlog."""

import asyncio
import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from config import telemetry
from config.bell import Bell
from config.broker import make_app
from config.embedded import Servers
from config.settings import settings
from config.surroundings import servers
from models import schema
from models.batcher import DatabaseAway
from models.database import TRANSIENT, DatabaseUnfit, close_database, open_database
from models.tenant import LOCAL
from producer.backlog import Backlog, Use, read
from producer.children import Children
from producer.report import write
from producer.rows import UnreadableBacklog
from producer.tables import console, plain
from producer.triage import Course, carry_out
from producer.triage_campaign import Autonomy, Campaign
from producer.triage_files import make_folder
from producer.triage_progress import Display
from producer.triage_summary import summarise
from producer.triage_tally import Tally
from producer.triage_workers import NobodyWorks, Workforce, writing_elsewhere

EXIT_CANNOT, EXIT_UNUSABLE, EXIT_INCOMPLETE, EXIT_INTERRUPTED = 1, 2, 3, 130
_NO_FILE_NAME = re.compile(r"[^\w.-]+")
_BACKLOG = typer.Argument(help="CSV or JSON Lines: id, subject, body or text, created_at.")
_DESK = typer.Option(help="URL of a Roundup tracker; without it, the desk in our own database.")
_AUTONOMY = typer.Option(help="observe: nothing outside is written. act: tickets are opened.")
_DRY_RUN = typer.Option("--dry-run", help="The same as --autonomy observe, whatever else is said.")
_CAMPAIGN = typer.Option(help="Name of this going-over; default: the file's name.")
_AGAIN = typer.Option(help="Go over it once more, under this further name.")
_MODEL = typer.Option(help="A classifier made by `sluice train`.", exists=True, resolve_path=True)
_OUT = typer.Option(help="Folder of the results; default: out/CAMPAIGN-AUTONOMY.")
_WORKERS = typer.Option(help="Worker processes to start; others that run help too.", min=0)
_SOURCE = typer.Option(help="Where the ids come from; the desk knows a ticket by SOURCE:ID.")


@dataclass(frozen=True)
class _Plan:
    campaign: Campaign
    file: Path
    folder: Path
    workers: int

    @property
    def log(self) -> Path:
        return self.folder / "workers.log"


def triage(  # noqa: PLR0917  # typer fills them by name
    backlog: Annotated[Path, _BACKLOG],
    desk: Annotated[str | None, _DESK] = None,
    autonomy: Annotated[Autonomy, _AUTONOMY] = Autonomy.OBSERVE,
    campaign: Annotated[str | None, _CAMPAIGN] = None,
    again: Annotated[str | None, _AGAIN] = None,
    model: Annotated[Path | None, _MODEL] = None,
    out: Annotated[Path | None, _OUT] = None,
    workers: Annotated[int, _WORKERS] = 2,
    source: Annotated[str, _SOURCE] = "backlog",
    dry_run: Annotated[bool, _DRY_RUN] = False,  # noqa: FBT002  # typer's flag
) -> None:
    """Triage a backlog: each ticket once, however often this is run or killed.

    Ctrl-C lets the runs in hand finish; a second one leaves at once.
    Run it again to go on: what is done is found, not done again.

    Exit codes:

    0 every row is answered or waits for a person

    1 something that should work does not: servers, workers, the database

    2 the file or an option is of no use

    3 done, except for what is listed at the end: bad, changed, refused or failed rows

    130 interrupted
    """
    name = campaign if campaign is not None else backlog.stem
    if not name.strip() or (again is not None and not again.strip()) or not source.strip():
        raise typer.BadParameter("a name is not empty")
    if desk is not None:
        os.environ["SLUICE_DESK__URL"] = desk  # the workers read it too
    os.environ.setdefault("SLUICE_LOG_LEVEL", "warning")
    telemetry.configure(settings(), part="triage")
    autonomy = Autonomy.OBSERVE if dry_run else autonomy
    going = Campaign(name, LOCAL, autonomy, again, source, str(model) if model else None)
    folder = out or _folder(going)
    try:
        plan = _Plan(going, backlog, make_folder(folder), workers)
        found = read(backlog)
    except UnreadableBacklog as error:
        _fail(EXIT_UNUSABLE, str(error))
    except OSError as error:
        _fail(EXIT_UNUSABLE, f"{folder} cannot hold the results: {error.strerror}")
    with found:
        tally = _with_workers(plan, found)
    raise typer.Exit(0 if tally.complete else EXIT_INCOMPLETE)


def _folder(going: Campaign) -> Path:
    default = "-".join(each for each in (going.name, going.again, str(going.autonomy)) if each)
    return Path("out") / _NO_FILE_NAME.sub("-", default)


def _with_workers(plan: _Plan, backlog: Backlog) -> Tally:
    own, display = settings(), Display(console)
    display.say(f"{plan.file.name}: {_counted(backlog)}")
    try:
        with display.phase("starting PostgreSQL and Redis" if own.embedded else "connecting"):
            found = servers(own)
            asyncio.run(schema.ensure(found.database_url, embedded=own.embedded))
        with Children(plan.workers, drain_s=own.worker.grace_s, log=plan.log) as children:
            try:
                return asyncio.run(_triage(plan, backlog, children, display, found))
            except KeyboardInterrupt:
                display.say("draining: runs in hand may finish; Ctrl-C again leaves at once")
                raise
    except KeyboardInterrupt:
        display.say(f"interrupted; nothing is lost, go on with: {shlex.join(_said())}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except (NobodyWorks, DatabaseAway, DatabaseUnfit, *TRANSIENT) as error:
        _fail(EXIT_CANNOT, f"{error or type(error).__name__}; go on with: {shlex.join(_said())}")
    finally:
        if plan.log.exists() and not plan.log.stat().st_size:
            plan.log.unlink()


async def _triage(
    plan: _Plan, backlog: Backlog, children: Children, display: Display, found: Servers
) -> Tally:
    own = settings()
    await open_database(found.database_url)
    bell = Bell(make_app(found.broker_url, own) if found.broker_url else None, own)
    course = Course(backlog.uses[Use.TICKET])
    workforce = Workforce(children, display, course, plan.log)
    try:
        with display.phase("waiting for workers"):
            await workforce.gather()
        if plan.campaign.autonomy is Autonomy.ACT:
            desk = os.environ.get("SLUICE_DESK__URL")
            if told := await writing_elsewhere(desk):
                raise NobodyWorks(told)
        with display.counting() as show:
            await carry_out(plan.campaign, backlog, course, bell, show=show, check=workforce.check)
        with display.phase("writing the report"):
            tally = await write(plan.campaign, backlog, course, plan.folder, plan.file.name)
    finally:
        await bell.close()
        await close_database()
    summarise(console, plan.campaign, tally, course, plan.folder)
    return tally


def _counted(backlog: Backlog) -> str:
    bad = backlog.uses[Use.BAD] + backlog.uses[Use.CLASH]
    twice = backlog.uses[Use.TWICE]
    told = [f"tickets {backlog.uses[Use.TICKET]:,}"]
    told += [f"rows left out {bad:,}"] if bad else []
    told += [f"the same row twice {twice:,}"] if twice else []
    return ", ".join(told)


def _said() -> list[str]:
    """The command as it was given."""
    return ["sluice", *(plain(each) for each in sys.argv[1:])]


def _fail(code: int, sentence: str) -> NoReturn:
    typer.echo(f"sluice: {sentence}", err=True)
    raise typer.Exit(code)
