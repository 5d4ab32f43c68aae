"""Tables and trees for a terminal: what people would rather look at than read."""

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from models.autonomy import Autonomy
from models.draining import Draining
from models.route import ROUTES
from models.run import Severity, StopReason
from models.transcript import MODEL
from producer.redacted import said, shown

console = Console(markup=False)
"""Without markup: what people wrote may hold brackets. Colours are styles."""
_COLOURS = {
    Severity.NONE: "green",
    Severity.NOTICE: "yellow",
    Severity.WARNING: "dark_orange",
    Severity.CRITICAL: "red",
}
_SHOWN_CHARS = 300
_ID_CHARS = 36
_UNSHOWN = "\N{REPLACEMENT CHARACTER}"


def runs_table(rows: Iterable[Any]) -> Table:
    """One line for each run, newest first."""
    table = Table(box=None, pad_edge=False, expand=True)
    table.add_column("run", min_width=_ID_CHARS, no_wrap=True)  # whole: people copy it
    for name in ("tenant", "pipeline", "state", "steps", "attempts", "created"):
        table.add_column(name, overflow="ellipsis", no_wrap=True)
    table.add_column("detail", overflow="ellipsis", no_wrap=True, ratio=1)  # gives way first
    for row in rows:
        table.add_row(
            str(row["id"]),
            row["tenant"],
            f"{row['pipeline']} v{row['version']}",
            state(row),
            str(row["steps"]),
            str(row["attempt"]),
            ago(row["created_at"]),
            legible(row["detail"]).replace("\n", " ")[:80],
        )
    return table


def run_tree(
    row: Any,
    steps: Iterable[Any],
    proposed: Iterable[Any] = (),
    asked: Iterable[Any] = (),
    *,
    whole: bool = False,
) -> Tree:
    """A run, its steps in the order it came to them, what persons were asked and said, and what
    became of what it has proposed; `whole`: nothing is hidden."""
    head = Text.assemble(
        (f"{row['pipeline']} v{row['version']}", "bold"), "  ", state(row), f"  {row['id']}"
    )
    tree, told, listed = Tree(head), partial(_asked, whole=whole), partial(_proposal, whole=whole)
    tree.add(
        f"tenant {row['tenant']}, key {plain(row['key'])}, attempts {row['attempt']},"
        f" crashes {row['crashes']}, steps {row['steps']}, calls {row['calls']},"
        f" {row['spent_usd'].normalize():f} USD, {row['active_s']:.3f} s active"
    )
    if row["stop_reason"] not in {None, StopReason.SUCCESS}:
        route = ROUTES[StopReason(row["stop_reason"])]
        tree.add(f"route {route}: {route.told}")
    if row["forked_from"]:
        tree.add(f"a fork of {row['forked_from']}: what is marked as copied, that one has done")
    if row["autonomy"]:
        tree.add("a dry run: nothing is written; what it would write is listed, and put to nobody")
    elif row["level"] not in {None, Autonomy.ACT}:
        tree.add(f"its autonomy was {row['level']}")
    if row["detail"]:
        tree.add(Text(legible(row["detail"])))
    tree.add(Text(f"input {_short(row['input'], whole=whole)}"))
    for step in steps:
        tree.add(_step(step, whole=whole))
    for line in (*map(told, asked), *map(listed, proposed)):
        tree.add(line)
    if row["error"]:
        tree.add(Text(legible(shown(row["error"]).get("traceback", "").rstrip()), style="red"))
    if row["result"] or row["partial"]:
        kept = "result" if row["result"] else "partial result"
        tree.add(Text(f"{kept} {_short(row['result'] or row['partial'], whole=whole)}"))
    return tree


def review_lines(row: Any) -> Text:
    """One review: its id whole, to be copied, then what it is about, asks and proposes."""
    until = f"  by {row['decide_by']:%Y-%m-%d}" if row["decide_by"] else ""
    about = _on_one_line(row["subject"] or row["text"])
    return Text.assemble(
        (str(row["id"]), "bold"),
        f"  {row['kind']} {_on_one_line(row['category'])}{until}\n",
        f"  {_on_one_line(row['ticket'])}  {about[:_SHOWN_CHARS]}\n" if row["ticket"] else "",
        f"  {_on_one_line(row['question'])}\n",
        (f"  {_every_part(row['proposal'])}", "dim") if row["proposal"] else "",
    )


def _every_part(document: bytes) -> str:
    """What somebody is to allow: long texts are cut, and none hides what stands behind it."""
    return plain(orjson.dumps(_parts(shown(document))).decode())


def _parts(value: Any) -> Any:
    if isinstance(value, dict):
        return {_cut(name): _parts(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_parts(each) for each in value]
    return _cut(value) if isinstance(value, str) else value


def _on_one_line(text: str | None) -> str:
    """Or what people and models write could look like the next review."""
    return " ".join(legible(text).split())


def draining_line(left: Draining) -> Text:
    """What is left of a version, and whether anybody is there for it."""
    of = f"{plain(left.pipeline)} {left.version}"
    have = f"{left.workers} living worker{'' if left.workers == 1 else 's'} can run it"
    if not left.runs:
        return Text(f"{of} has drained: no run of it is unfinished; {have}", style="green")
    counts = ", ".join(f"{count:,} {where}" for where, count in left.counts.items())
    told = f"{counts}; the oldest came {ago(left.oldest)}" if left.oldest else counts
    if left.workers:
        return Text(f"{left.runs:,} run(s) of {of} are not over: {told}; {have}", style="cyan")
    lacking = f"{left.runs:,} run(s) wait for {of}, which no living worker runs: {told}"
    return Text(f"{lacking}. Start a worker that has it", style="red")


def state(row: Any) -> Text:
    """Where a run stands, in the colour of its stop reason."""
    if row["stop_reason"]:
        reason = StopReason(row["stop_reason"])
        return Text(reason, style=_COLOURS[reason.facts.severity])
    waiting = f" ({row['waiting_for']})" if row["waiting_for"] else ""
    return Text(f"{row['status']}{waiting}", style="cyan")


def ago(moment: datetime) -> str:
    seconds = (datetime.now(moment.tzinfo) - moment).total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def plain(text: str | None) -> str:
    """Without what a terminal would obey: text from outside may hold escape sequences."""
    return "".join(
        c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text or ""
    )


def legible(text: str | None) -> str:
    """The same, and without secrets."""
    return plain(said(text))


def _step(step: Any, *, whole: bool) -> Text:
    took = (step["settled_at"] or step["created_at"]) - step["created_at"]
    style = {"settled": "green", "rejected": "red"}.get(step["state"], "yellow")
    return Text.assemble(
        f"{step['number']}. ",
        (plain(step["step"]), "bold"),
        f"  {step['kind']} {step['tool'] or ''}  ",
        (step["state"], style),
        "  copied" if step["copied_from"] else "",
        f"  try {step['tries']}  {took.total_seconds() * 1000:.0f} ms  ",
        _came(step, whole=whole),
    )


def _came(step: Any, *, whole: bool) -> str:
    """What came of a step; of what a language model said, the words alone."""
    document = step["error"] or step["result"] or b"null"
    if (step["tool"] or "").startswith(MODEL) and not step["error"]:
        said = shown(document, whole=whole)
        if isinstance(said, dict) and "text" in said:
            return _cut(plain(str(said["text"])))
    return _short(document, whole=whole)


def _asked(row: Any, *, whole: bool) -> Text:
    """What a person was asked, and said; of an open one, what to type."""
    if row["verdict"] is None:
        said = Text(f"open: sluice answer {row['id']} ...", style="yellow")
    else:
        note = f": {legible(row['note'])}" if row["note"] else ""
        said = Text(f"{row['verdict']} by {plain(row['who']) or 'nobody'}{note}")
    return Text.assemble(
        f"review of {plain(row['step'])}  {row['kind']}  ",
        said,
        f"  {_short(row['answer'] or row['proposal'], whole=whole)}",
    )


def _proposal(row: Any, *, whole: bool) -> Text:
    """What was proposed, what a person said, and how its request ended."""
    style = {"open": "yellow", "approved": "green"}.get(row["state"], "red")
    ended = row["stop_reason"] or row["status"] or "purged"
    return Text.assemble(
        f"proposal {row['id']}  {plain(row['tool'])}  ",
        (row["state"], style),
        f"  run {row['run_id']} {ended}" if row["run_id"] else "",
        f"  {_short(row['answer'] or row['proposal'], whole=whole)}",
    )


def _short(document: bytes | None, *, whole: bool = False) -> str:
    if not document:
        return ""
    return _cut(plain(orjson.dumps(shown(document, whole=whole)).decode()))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + " …"
