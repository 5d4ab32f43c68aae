"""`sluice submit`, `show`, `runs` and `cancel`: asking for a run, looking at it, ending it."""

from typing import Annotated
from uuid import UUID, uuid4

import typer

from models import cancel as cancelling
from models import transcript
from models.admission import Admission
from models.database import hot
from models.draining import draining
from models.proposal import became
from models.request import Request
from models.run import RunStatus
from models.tenant import LOCAL
from models.tombstone import tombstone
from producer.connection import database, document, operator, run
from producer.tables import ago, console, draining_line, run_tree, runs_table
from producer.transcripts import transcript_lines

Tenant = Annotated[str, typer.Option(help="Whose it is.")]

_RUNS = """
    SELECT * FROM run WHERE ($1::text IS NULL OR status = $1) AND ($2::text IS NULL OR tenant = $2)
       AND ($4::text IS NULL OR pipeline = $4)
       AND ($5::int IS NULL OR version = $5 AND ($1 IS NOT NULL OR status <> 'finished'))
     ORDER BY id DESC LIMIT $3
"""
_BY_KEY = """
    WITH RECURSIVE tenants AS (
        (SELECT tenant FROM request_key ORDER BY tenant LIMIT 1)
        UNION ALL
        SELECT (SELECT k.tenant FROM request_key k WHERE k.tenant > t.tenant
                 ORDER BY k.tenant LIMIT 1)
          FROM tenants t WHERE t.tenant IS NOT NULL)
    SELECT k.run_id FROM tenants JOIN request_key k ON (k.tenant, k.key) = (tenants.tenant, $1)
     ORDER BY k.run_id DESC LIMIT 1
"""
"""Keys are found by tenant; whoever types one here does not always say whose it is."""

_RUN = "SELECT * FROM run WHERE id = $1"
_ASKED = """
    SELECT * FROM review WHERE run_id = $1 AND kind <> 'proposal' ORDER BY asked_at, id LIMIT 50
"""
_STEPS = "SELECT * FROM ledger_entry WHERE run_id = $1 ORDER BY number, step"


def submit(  # noqa: PLR0917  # typer fills them by name
    pipeline: Annotated[str, typer.Argument(help="The pipeline's name.")],
    input_: Annotated[
        str, typer.Argument(metavar="INPUT", help="JSON; @FILE reads a file, - standard input.")
    ],
    key: Annotated[
        str | None, typer.Option(help="Idempotency key; without one, a new run each time.")
    ] = None,
    subject: Annotated[str | None, typer.Option(help="Runs on one subject never overlap.")] = None,
    tenant: Tenant = LOCAL,
    dry_run: Annotated[  # noqa: FBT002  # typer's flags
        bool,
        typer.Option("--dry-run", help="Write nothing: `show` lists what would be written."),
    ] = False,
) -> None:
    """Ask for a run; the same key gives the same run."""
    given = document(input_)
    request = Request(tenant, key or f"cli:{uuid4()}", pipeline, given, subject, dry_run=dry_run)

    async def ask() -> None:
        async with database() as bell:
            receipt = await Admission(patience_s=5)(request)
            bell.ring()
            again = "  (this key was known: the same run)" if receipt.replayed else ""
            console.print(f"{receipt.run_id}{again}", highlight=False)

    run(ask())


def show(
    wanted: Annotated[str, typer.Argument(metavar="RUN", help="A run id or an idempotency key.")],
    whole: Annotated[  # noqa: FBT002  # typer's flags
        bool, typer.Option("--whole", help="Hide nothing: secrets in input and results too.")
    ] = False,
    transcripts: Annotated[  # noqa: FBT002  # likewise
        bool, typer.Option("--transcripts", help="What models were asked, and what they said.")
    ] = False,
) -> None:
    """Show a run and its steps as a tree; what may be a secret is hidden."""

    async def look() -> None:
        async with database():
            run_id = await find(wanted)
            row = await hot().fetchrow(_RUN, run_id)
            if row is not None:
                steps = await hot().fetch(_STEPS, run_id)
                asked = await hot().fetch(_ASKED, run_id)
                console.print(run_tree(row, steps, await became(run_id), asked, whole=whole))
                for each in await transcript.of(run_id) if transcripts else ():
                    console.print(transcript_lines(each), highlight=False)
            elif (left := await tombstone(run_id)) is not None:
                console.print(
                    f"{left['pipeline']} v{left['version']}  {left['stop_reason']},"
                    f" finished {ago(left['finished_at'])}; its payload was purged"
                    f" {ago(left['purged_at'])}",
                    highlight=False,
                )
            else:
                raise typer.BadParameter(f"no run has the id or key {wanted!r}")

    run(look())


def runs(
    status: Annotated[RunStatus | None, typer.Option(help="Those in one status only.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Of one tenant only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    *,
    pipeline: Annotated[str | None, typer.Option(help="Of one pipeline only.")] = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="What still drains of one version of a pipeline.")
    ] = None,
) -> None:
    """List runs, newest first; with --version those that are not over, and who can carry them."""

    async def look() -> None:
        async with database():
            if version is not None:
                left = await draining(version, pipeline=pipeline, tenant=tenant)
                for each in left:
                    console.print(draining_line(each))
                if not left:
                    console.print(f"no run of any version {version} is unfinished")
            rows = await hot().fetch(_RUNS, status, tenant, limit, pipeline, version)
            if rows or version is None:
                console.print(runs_table(rows))

    run(look())


def cancel(
    wanted: Annotated[str, typer.Argument(metavar="RUN", help="A run id or an idempotency key.")],
    reason: Annotated[str, typer.Option(help="Kept with the run.")] = "",
) -> None:
    """End a run; a write that is under way is brought to its end first."""

    async def end() -> None:
        async with database():
            run_id = await find(wanted)
            status = await cancelling.cancel(run_id, who=operator(), reason=reason)
            if status is RunStatus.RUNNING:
                console.print("asked: its worker hears of it with its next heartbeat")
                return
            over = await hot().fetchval("SELECT stop_reason FROM run WHERE id = $1", run_id)
            console.print(f"it is over: {over}", highlight=False)

    run(end())


async def find(wanted: str) -> UUID:
    """The run that a key or an id stands for."""
    found: UUID | None = await hot().fetchval(_BY_KEY, wanted)
    if found is not None:
        return found
    try:
        return UUID(wanted)
    except ValueError:
        raise typer.BadParameter(f"no run has the id or key {wanted!r}") from None
