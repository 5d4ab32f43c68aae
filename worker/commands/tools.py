"""`sluice tools`: the tools that pipelines here declare or packages list, with their facts."""

from typing import Any

import orjson
import typer
from rich.table import Table
from rich.text import Text

from config.settings import settings
from tools.tool import Effect, Tool, unknowable
from worker.commands.pipelines import Json, console, tell_broken
from worker.sources import Found, find

_STYLES = {Effect.READ: "green", Effect.DESTRUCTIVE: "red"}


def tools(as_json: Json = False) -> None:  # noqa: FBT002  # typer's flags
    """List every tool with what the gateway knows of it. Needs no database.

    Exit code 1: a source of tools cannot be used; it is told on standard error.
    """
    own = settings().worker
    found = find(own.catalogues, packages=own.packages)
    facts = [_facts(each, found) for each in found.tools]
    if as_json:
        typer.echo(orjson.dumps(facts, option=orjson.OPT_INDENT_2).decode())
    else:
        console.print(_table(facts))
    tell_broken(found)


def _facts(tool: Tool[Any, Any], found: Found) -> dict[str, Any]:
    sinks = (
        None if tool.sinks is None else {at: need.name.lower() for at, need in tool.sinks.items()}
    )
    first = tool.undo.snapshot if tool.undo else None
    return {
        "name": tool.name,
        "about": tool.about,
        "module": tool.run.__module__,
        "effect": tool.effect,
        "timeout_s": tool.timeout_s,
        "cost_usd": str(tool.cost_usd),
        "key_kept_for_s": tool.key_kept_for_s if tool.effect is Effect.WRITE else None,
        "lookup": tool.lookup is not None and tool.lookup is not unknowable,
        "sinks": sinks,
        "trusted": list(tool.trusted),
        "undo": tool.undo.tool.name if tool.undo else None,
        "snapshot": first.tool.name if first else None,
        "poll": tool.poll,
        "used_by": sorted(
            f"{each.name} v{each.version}"
            for each in found.pipelines.values()
            if each.tools.get(tool.name) is tool
        ),
    }


def _table(facts: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("tool", no_wrap=True)
    for name in ("effect", "a try", "after a doubt", "what arguments need", "used by"):
        table.add_column(name, overflow="fold")
    for each in facts:
        sinks = each["sinks"]
        needs = ["any value" if each["effect"] != Effect.READ else ""] if sinks is None else [
            f"{at or '/'} {need}" for at, need in sinks.items()
        ]  # fmt: skip
        table.add_row(
            f"{each['name']}\n  {each['module']}",
            Text(each["effect"], style=_STYLES.get(each["effect"], "yellow")),
            f"{each['timeout_s']:g} s\n{each['cost_usd']} USD",
            _doubt(each)
            + (f"\nundo: {each['undo']}" if each["undo"] else "")
            + (f"\nfirst: {each['snapshot']}" if each["snapshot"] else ""),
            "\n".join(needs),
            "\n".join(each["used_by"]) or "no pipeline",
        )
    return table


def _doubt(facts: dict[str, Any]) -> str:
    """What happens when nobody knows whether a call was done."""
    if facts["effect"] == Effect.READ:
        return "asked again"
    if facts["effect"] == Effect.DESTRUCTIVE:
        return "a person decides"
    then = ", then looked up" if facts["lookup"] else ""
    if facts["key_kept_for_s"]:
        return f"sent again{then}\n(key kept {_long(facts['key_kept_for_s'])})"
    return "looked up" if facts["lookup"] else "a person decides"


def _long(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"
