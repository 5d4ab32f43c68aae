"""`sluice autonomy`: how much pipelines may do by themselves, and giving them more or less."""

from operator import itemgetter
from typing import Annotated, Any, NoReturn

import typer
from rich.table import Table

from config.policy import Policy
from config.policy_autonomy import Bar
from config.policy_file import read
from config.settings import settings
from models import autonomy as levels
from models.agreement import Agreement, measure
from models.autonomy import EVERYBODY, Autonomy
from models.promotion import Case, NotEarned, consider, known_scope, set_level
from models.promotion import promote as promote_on_record
from models.share import wilson
from producer.connection import database, operator, run
from producer.tables import ago, console, legible, plain

_LEVELS = "observe: only read; reversible: also write what has an undo; act: whatever is allowed."
autonomy = typer.Typer(help=f"How much pipelines may do by themselves. {_LEVELS}")
Pipeline = Annotated[str, typer.Argument(help="The pipeline's name.")]
Tenant = Annotated[str, typer.Option(help="Of one tenant; * is every tenant.")]


@autonomy.callback(invoke_without_command=True)
def _autonomy(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        show()


@autonomy.command("show")
def show() -> None:
    """List every pipeline's level, since when and why, and what people have decided since."""

    async def look() -> None:
        policy = read(settings().policy).policy
        async with database():
            rows = await levels.rows()
            lines = {(row["pipeline"], row["tenant"]): row for row in rows}
            for each in await levels.pipelines():
                lines.setdefault((each, EVERYBODY), None)
            table = _headed("pipeline", "tenant", "level", "since", "by", "why", "since then")
            for (pipeline, tenant), row in sorted(lines.items(), key=itemgetter(0)):
                said = policy.of(tenant, pipeline).autonomy
                holds = levels.holds(levels.by_scope(rows), tenant, pipeline, said)
                table.add_row(
                    plain(pipeline), plain(tenant), holds, *await _rests_on(pipeline, tenant, row)
                )
        console.print(table)

    run(look())


async def _rests_on(pipeline: str, tenant: str, row: Any) -> tuple[str, ...]:
    """Who set a level and why, and what people have said since."""
    since = row["set_at"] if row else None
    found = await measure(pipeline, None if tenant == EVERYBODY else tenant, since)
    told = found.told() if found.whole.decided or found.whole.writes else ""
    if row is None:
        return "", "", "by the policy", told
    why = f"set to {row['level']}: {legible(row['reason'])}"
    return ago(row["set_at"]), plain(row["who"]), why, told


@autonomy.command("set")
def set_(
    pipeline: Pipeline,
    level: Annotated[Autonomy, typer.Argument(help=_LEVELS)],
    because: Annotated[str, typer.Option(help="Why; kept in the audit.")],
    tenant: Tenant = EVERYBODY,
    force: Annotated[  # noqa: FBT002  # typer's flags
        bool, typer.Option("--force", help="Raise it without a record; the audit says so.")
    ] = False,
) -> None:
    """Lower a level at once, for runs in hand too. Raising one is what `promote` is for."""

    async def put() -> None:
        said = _policy(tenant, pipeline).autonomy
        async with database():
            await known_scope(tenant, pipeline)
            setting = set_level(
                tenant, pipeline, level, said, who=operator(), reason=because, force=force
            )
            try:
                changed = await setting
            except NotEarned as error:
                _refused(error)
        told = f"{plain(pipeline)} is at {level} for {_whose(tenant)}"
        console.print(told if changed else f"{told}, and was before", highlight=False)
        if Autonomy(said.level).rank < level.rank:
            console.print(f"the policy lets it do less: {said.level}", highlight=False)

    run(put())


@autonomy.command("promote")
def promote(
    pipeline: Pipeline,
    to: Annotated[Autonomy, typer.Option(help="The next level.")],
    tenant: Tenant = EVERYBODY,
    because: Annotated[str, typer.Option(help="Kept in the audit, beside the figures.")] = "",
    dry_run: Annotated[  # noqa: FBT002  # typer's flags
        bool, typer.Option("--dry-run", help="Show what it would rest on, and change nothing.")
    ] = False,
) -> None:
    """Let a pipeline do more, when its proposals agreed with what people did.

    Exit code 1, and nothing changed, while its record is below the policy's bar.
    """

    async def judge() -> None:
        said = _policy(tenant, pipeline).autonomy
        async with database():
            await known_scope(tenant, pipeline)
            case = await consider(tenant, pipeline, to, said)
            _show(case, to)
            if dry_run:
                against = "; ".join(case.against) or "nothing"
                console.print(
                    f"nothing was changed; against it: {against}", highlight=False, soft_wrap=True
                )
                return
            try:
                done = await promote_on_record(
                    tenant, pipeline, to, said, who=operator(), because=because
                )
            except NotEarned as error:
                _refused(error)
        whose = _whose(tenant)
        console.print(
            f"{plain(pipeline)} is at {to} for {whose}, and was at {done.stands}:"
            f" {done.found.told()}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip

    run(judge())


def _policy(tenant: str, pipeline: str) -> Policy:
    return read(settings().policy).policy.of(tenant, pipeline)


def _show(case: Case, to: Autonomy) -> None:
    table = _headed(
        "tool", "as it was", "edited", "rejected", "not decided", "writes", "undone", numbers=1
    )
    for each in (*case.found.tools, case.found.whole):
        table.add_row(plain(each.tool) or "(none)", *(f"{count:,}" for count in each[1:]))
    since = f"since {ago(case.since)}" if case.since else "of all that is known"
    console.print(f"at {case.stands}, {since}", highlight=False)
    console.print(table)
    answers = case.found.answers
    if answers.decided:
        console.print(
            f"questions it was not sure of, which count for nothing here: {answers.approved:,}"
            f" answered as it thought, {answers.edited:,} otherwise, {answers.rejected:,} rejected",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    if case.bar is not None:
        bars = _headed("", "found", f"asked for {to}")
        for row in _compared(case.found, case.bar):
            bars.add_row(*row)
        console.print(bars)


def _compared(found: Agreement, bar: Bar) -> list[tuple[str, str, str]]:
    whole = found.whole
    low, high = wilson(whole.approved, whole.decided)
    precision = f"{found.precision:.1%} (95 %: {low:.1%} to {high:.1%})"
    return [
        ("decisions", f"{whole.decided:,}", f"{bar.fewest:,} or more"),
        ("precision", precision if whole.decided else "", f"{bar.precision:.1%} or more"),
        ("reversals", f"{found.reversals:.1%}", f"{bar.reversals:.1%} or less"),
    ]


def _headed(*names: str, numbers: int | None = None) -> Table:
    table = Table(box=None, pad_edge=False)
    for place, name in enumerate(names):
        right = numbers is not None and place >= numbers
        table.add_column(name, overflow="fold", justify="right" if right else "left")
    return table


def _whose(tenant: str) -> str:
    return "every tenant" if tenant == EVERYBODY else plain(tenant)


def _refused(error: NotEarned) -> NoReturn:
    typer.echo(f"sluice: {plain(str(error))}", err=True)
    raise typer.Exit(1) from None
