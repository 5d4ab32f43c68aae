"""What `sluice mcp` shows: the tools of a server, and how they differ from their lock."""

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from tools.mcp.lock import Lock
from tools.mcp.pin import Definition, Pin
from tools.tool import Effect

_STYLES = {Effect.READ: "green", Effect.DESTRUCTIVE: "red"}
_NEWS = {"new": "cyan", "changed": "yellow", "gone": "red"}


class Row(NamedTuple):
    """One tool, and what became of it since it was pinned; "" is nothing."""

    pin: Pin
    news: str


def rows(before: Lock, after: Lock) -> list[Row]:
    """Every tool of two locks of one server, by name."""
    was = {each.tool: each for each in before.tools}
    now = {each.tool: each for each in after.tools}
    return [Row(now.get(name) or was[name], _news(was.get(name), now.get(name)))
            for name in sorted(was.keys() | now.keys())]  # fmt: skip


def table(found: list[Row]) -> Table:
    """What a reviewer asks first: what may it do, who says so, and what is new."""
    shown = Table(box=None, pad_edge=False)
    for name in ("tool", "effect", "why", "open world", "contract", ""):
        shown.add_column(name, overflow="fold")
    for each in found:
        shown.add_row(
            plain(each.pin.tool),
            Text(each.pin.effect, style=_STYLES.get(each.pin.effect, "yellow")),
            plain(each.pin.why),
            "yes" if each.pin.open_world else "no",
            plain(each.pin.contract),
            Text(each.news, style=_NEWS.get(each.news, "")),
        )
    return shown


def drift(lock: Lock, offered: Mapping[str, Definition]) -> Iterator[Text]:
    """How a server differs from its lock, as lines; none when each pinned tool is as it was."""
    for each in lock.tools:
        now = offered.get(each.definition.name)
        if now is None:
            yield Text(f"{each.tool} is gone", style="red")
        elif now.sha256() != each.sha256:
            yield Text(f"{each.tool} has changed", style="yellow")
            yield from _diff(each.definition, now)


def unpinned(lock: Lock, offered: Mapping[str, Definition]) -> list[str]:
    """Names of tools that the server offers and the lock does not know: no run uses them."""
    return sorted(offered.keys() - {each.definition.name for each in lock.tools})


def plain(text: str) -> str:
    """Without what a terminal would obey, and what nobody could see: servers write this."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" for c in text)


def _diff(was: Definition, now: Definition) -> Iterator[Text]:
    before, after = (
        json.dumps(each.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False)
        for each in (was, now)
    )
    lines = difflib.unified_diff(
        plain(before).splitlines(), plain(after).splitlines(), "pinned", "offered", n=1, lineterm=""
    )
    for line in lines:
        style = {"+": "green", "-": "red"}.get(line[:1], "dim")
        yield Text(f"  {line}", style=style)


def _news(was: Pin | None, now: Pin | None) -> str:
    if was is None:
        return "new"
    if now is None:
        return "gone"
    return "" if was == now else "changed"
