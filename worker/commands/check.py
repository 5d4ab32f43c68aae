"""`sluice check`: what is wrong with pipelines and tools, before they run."""

from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.text import Text

from config.rulebook import rulebook
from config.settings import settings
from worker.check import Finding, Severity, error, unlisted
from worker.check import check as checked
from worker.check.finding import at
from worker.sources import Found, find

console = Console(markup=False, highlight=False)
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow"}


def check(
    modules: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODULE]...",
            help="Such as mine.greetings; all that a worker here would run by default.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,  # noqa: FBT002  # typer's flags
) -> None:
    """Look at pipelines and tools without running them, and say what is wrong or missing.

    What a resumed run would not repeat, steps of one name, arguments that nobody vouches for,
    contracts, prices, and what the policy in force makes of them. Needs no database.

    Exit codes: 0 no errors (warnings are no errors); 1 errors.
    """
    own = settings().worker
    found = find(modules or own.catalogues, packages=own.packages and not modules)
    told = findings(found)
    if as_json:
        lines = [each._asdict() for each in told]
        typer.echo(orjson.dumps(lines, option=orjson.OPT_INDENT_2).decode())
    else:
        for each in told:
            _print(each)
        console.print(_summary(found, told))
    if any(each.severity is Severity.ERROR for each in told):
        raise typer.Exit(1)


def findings(found: Found) -> list[Finding]:
    """Of everything that was found, under the policy of this process."""
    file = rulebook().file
    broken = [
        error("unusable", _near(each.place) or each.source, each.source, each.told,
              "mend it: a worker that is told to run it does not start" if each.asked
              else "mend or remove it: workers go on without it")
        for each in found.broken
    ]  # fmt: skip
    lost = unlisted(found.modules, found.pipelines)
    return [*broken, *checked(found.pipelines, found.tools, file.policy, file.revision), *lost]


def _near(place: str) -> str:
    file, _, line = place.rpartition(":")
    return at(file, int(line)) if file and line.isdecimal() else place


def _print(each: Finding) -> None:
    line = Text(f"{each.place}: ").append(each.severity, style=_STYLES[each.severity])
    console.print(line.append(f" {each.about}: {each.told} [{each.rule}]"), soft_wrap=True)
    console.print(Text(f"    {each.do}", style="dim"), soft_wrap=True)


def _summary(found: Found, told: list[Finding]) -> Text:
    errors = sum(each.severity is Severity.ERROR for each in told)
    text = (
        f"{_many(len(found.pipelines), 'pipeline')} and {_many(len(found.tools), 'tool')}: "
        f"{_many(errors, 'error')}, {_many(len(told) - errors, 'warning')}"
    )
    return Text(text, style="red" if errors else "green")


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
