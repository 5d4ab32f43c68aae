"""`sluice pipelines`: which pipelines a worker here would run, and what each may do."""

from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from config.settings import settings
from worker.pipeline import Pipeline
from worker.sources import Found, find

console = Console(markup=False, highlight=False)
Json = Annotated[bool, typer.Option("--json", help="For machines.")]


def pipelines(as_json: Json = False) -> None:  # noqa: FBT002  # typer's flags
    """List what a worker started here would run. Needs no database.

    Exit code 1: a source of pipelines cannot be used; it is told on standard error.
    """
    own = settings().worker
    found = find(own.catalogues, packages=own.packages)
    facts = [_facts(found.pipelines[key]) for key in sorted(found.pipelines)]
    if as_json:
        typer.echo(orjson.dumps(facts, option=orjson.OPT_INDENT_2).decode())
    else:
        console.print(_table(facts))
    tell_broken(found)


def tell_broken(found: Found) -> None:
    """Say on standard error what could not be used, and leave with 1 where there is any."""
    for each in found.broken:
        typer.echo(f"sluice: {each}", err=True)
    if found.broken:
        raise typer.Exit(1)


def _facts(pipeline: Pipeline[Any, Any]) -> dict[str, Any]:
    schema = pipeline.takes.model_json_schema(by_alias=True)
    required = set(schema.get("required", ()))
    return {
        "name": pipeline.name,
        "version": pipeline.version,
        "about": " ".join((pipeline.body.__doc__ or "").split()),
        "module": pipeline.body.__module__,
        "tools": sorted(pipeline.tools),
        "budget": pipeline.budget.model_dump(mode="json"),
        "input": {name: name in required for name in schema.get("properties", {})},
        "trusts": list(pipeline.trusts),
    }


def _table(facts: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("pipeline", no_wrap=True)
    for name in ("tools", "budget of a run", "input (? may be left out)", "trusts"):
        table.add_column(name, overflow="fold")
    for each in facts:
        budget = each["budget"]
        table.add_row(
            f"{each['name']} v{each['version']}\n  {each['module']}",
            "\n".join(each["tools"]) or "none",
            f"{budget['steps']} steps, {budget['tool_calls']} calls\n{budget['tokens']} tokens,"
            f" {budget['cost_usd']} USD\n{budget['seconds']:g} s",
            "\n".join(name if needed else f"{name}?" for name, needed in each["input"].items()),
            "\n".join(each["trusts"]) or "nothing",
        )
    return table
