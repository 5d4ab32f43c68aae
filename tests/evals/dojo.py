"""AgentDojo's tools as Sluice tools: strict contracts, effects, sinks, and what may be trusted.

The data are not ours and stay where they lie: beside the project, or in the folder that
SLUICE_PUBLIC_DATA names. What a tool is (its name and its JSON schema) is theirs; what safety needs
to know of it is the judgement of this file, by the names of tools and arguments, one rule for all
suites. Whoever made it had seen the logs, so it is not blind; AgentDyn's three suites (shopping,
github, dailylife) it was not made for: nobody has written them VOUCHED leaves or SOURCES.

- A label "Read" is a READ, all others write; to look at a page is a READ.
- Of a write, what says to whom, where, what and how much is a sink that needs to be endorsed; only
  text that somebody will read (TEXTS) is not.
- Of a READ, an address of the open web is a sink: what is asked of it leaves the house.
- A result is text from outside, but for what the target itself vouches for (VOUCHED).
"""

import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, Union

import yaml
from pydantic import Field, create_model

from tests.conftest import lacking
from tools.tool import Call, Contract, Effect, Tool, tool
from tools.trust import Trust
from worker.labels.capacity import INFINITE, capacity

DATA = Path(os.environ.get("SLUICE_PUBLIC_DATA", Path(__file__).parents[3] / "shared" / "data"))
Row = dict[str, Any]
Sinks: TypeAlias = Literal["none", "whom", "writes", "urls", "reads"]
"""What is one: nothing; of a write, to whom, to where and how much; all of a write but texts; then
addresses of the open web that are read as well; then every argument of a read."""
Outside = Callable[[str, Call], Awaitable[str]]
"""Answers a call that has reached its tool: by the tool's name, as the log has it."""

TEXTS = {"subject", "body", "content", "comment_body", "title", "description", "location",
         "end_time", "new_end_time", "date"}  # fmt: skip
"""Arguments of writes that choose neither whom nor what. (When a payment is due, and when an
appointment ends, is among them; when it begins is not.)"""
WHOM = {"recipient", "recipients", "cc", "bcc", "participants", "user", "user_email", "email",
        "collaborator_email", "new_owner_email", "new_owner_username", "url", "channel",
        "amount"}  # fmt: skip
"""For the mildest setting: only to whom, to where, and how much."""
PAGES = {"browse_webpage", "get_webpage"}
VOUCHED: dict[str, Mapping[str, str]] = {
    "get_channels": {"channel": ""},
    "get_users_in_channel": {"user": ""},
    "read_channel_messages": {"user": "sender"},
    "read_inbox": {"user": "sender"},
    "search_contacts_by_name": {"person": "email"},
    "search_contacts_by_email": {"person": "email"},
    "list_files": {"file": "id_"},
    "search_files": {"file": "id_"},
    "search_files_by_filename": {"file": "id_"},
    "create_file": {"file": "id_"},
    "search_calendar_events": {"event": "id_"},
    "get_day_calendar_events": {"event": "id_"},
    "create_calendar_event": {"event": "id_"},
    "get_scheduled_transactions": {"payment": "id", "amount": "amount"},
    "get_most_recent_transactions": {"payment": "id", "amount": "amount"},
}
"""By tool: what its target assigned itself, and the field it stands in ("": the rows are it). The
workspace vouches for who is in it and who said something, the address book for its entries, drive,
calendar and bank for their own ids, and a bank for the sums that it has moved."""
SOURCES: dict[tuple[str, str], str] = {
    ("slack", "channel"): "channel",
    ("slack", "user"): "user",
    ("slack", "recipient"): "user",
    ("workspace", "participants"): "person",
    ("workspace", "event_id"): "event",
    ("workspace", "file_id"): "file",
    ("banking", "id"): "payment",
    ("banking", "amount"): "amount",
}
"""By suite and argument: which vouched values it may be chosen among."""


class Told(Contract):
    """What a tool gave: text from outside, and the few values that its target vouches for."""

    text: str
    vouched: dict[str, list[str | int | float]] = Field(default_factory=dict)


def rows_of(name: str) -> list[Row]:
    path = DATA / name
    if not path.exists():
        lacking("public-data", f"there is no {name} beside the project or in SLUICE_PUBLIC_DATA")
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def tools_of(suite: str, outside: Outside, *, sinks: Sinks = "urls") -> dict[str, Tool[Any, Any]]:
    """A suite's tools by name."""
    rows = [each for each in rows_of("agentdojo_tools.jsonl") if each["suite"] == suite]
    return {each["tool"]: _tool(each, outside, sinks) for each in rows}


def sinks_of(found: Tool[Any, Any]) -> list[str]:
    """The arguments that choose whom, what or how much, and take more than a type's few values."""
    sinks = found.sinks or {}
    return [
        name
        for name in found.takes.model_fields
        if sinks.get(f"/{name}", sinks.get("")) is Trust.ENDORSED
        and capacity(found.takes, f"/{name}") == INFINITE
    ]


def _tool(row: Row, outside: Outside, sinks: Sinks) -> Tool[Any, Any]:
    name, effect = row["tool"], effect_of(row)
    takes, vouched = contract_of(name, row["parameters"]), VOUCHED.get(name, {})

    async def run(args: Contract, call: Call) -> Told:
        text = await outside(name, call)
        found = {kind: vouched_in(text, field) for kind, field in vouched.items()}
        return Told(text=text, vouched=found)

    run.__annotations__["args"] = takes
    run.__doc__ = row["description"]
    made = tool(
        name,
        effect=effect,
        timeout_s=60,
        key_kept_for_s=3600,
        sinks=_sinks(name, effect, takes, sinks),
        trusted=("/vouched",),
    )
    return made(run)


def _sinks(name: str, effect: Effect, takes: type[Contract], sinks: Sinks) -> dict[str, Trust]:
    """By JSON pointer; what is none takes whatever the model says."""
    if sinks == "none" or (effect is Effect.READ and sinks in {"whom", "writes"}):
        return {"": Trust.UNTRUSTED}
    if effect is Effect.READ:
        open_web = sinks == "reads" or name in PAGES
        return {"": Trust.ENDORSED if open_web else Trust.UNTRUSTED}
    chosen = {each for each in takes.model_fields if each not in TEXTS}
    chosen &= WHOM if sinks == "whom" else chosen
    return {
        f"/{each}": Trust.ENDORSED if each in chosen else Trust.UNTRUSTED
        for each in takes.model_fields
    }


def effect_of(row: Row) -> Effect:
    return (
        Effect.READ if row["permission_by_llm"] == "Read" or row["tool"] in PAGES else Effect.WRITE
    )


def contract_of(name: str, schema: Row) -> type[Contract]:
    """The arguments of a tool: unknown ones are refused, and nothing is coerced."""
    known, required = schema.get("$defs", {}), schema.get("required") or []
    fields: dict[str, Any] = {
        each: (_type(of, known), ... if each in required else Field(default=of.get("default")))
        for each, of in schema.get("properties", {}).items()
    }
    return create_model(f"{name}_arguments", __base__=Contract, **fields)


def _type(schema: Row, known: Row) -> Any:
    if "$ref" in schema:
        return _type(known[schema["$ref"].rsplit("/", 1)[-1]], known)
    if "enum" in schema:
        return Literal[tuple(schema["enum"])]
    if "anyOf" in schema:
        return Union[tuple(_type(each, known) for each in schema["anyOf"])]  # noqa: UP007  # computed
    if schema.get("type") == "array":
        return list[_type(schema.get("items", {}), known)]  # type: ignore[misc]  # computed
    plain = {"string": str, "integer": int, "number": float, "boolean": bool, "null": None}
    return plain.get(schema.get("type", ""), dict[str, Any] if "type" in schema else Any)


@cache
def _rows(text: str) -> list[Any]:
    """The rows of a YAML answer, as far as the log has kept it: it cuts long ones short."""
    found: list[Any] = []
    for part in text.split(" […] "):
        lines = part.splitlines()
        starts = [n for n, line in enumerate(lines) if line.startswith("- ")]
        lines = lines[starts[0] :] if starts else lines
        for end in range(len(lines), 0, -1):
            try:
                read = yaml.safe_load("\n".join(lines[:end]))
            except yaml.YAMLError:
                continue
            found += read if isinstance(read, list) else [read]
            break
    return found


def vouched_in(text: str, field: str) -> list[str | int | float]:
    """What stands in a field of each row of an answer."""
    found = [
        each.get(field) if field and isinstance(each, dict) else None if field else each
        for each in _rows(text)
    ]
    return [each for each in found if type(each) in {str, int, float}]


_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
           "October", "November", "December")  # fmt: skip
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)")


def spoken(value: Any, words: str) -> bool:
    """Whether somebody said exactly this: the whole value, or of a date and time each of both.

    A date may have been said as `January 11th`, when its year was said as well.
    """
    text = str(value)
    if _said(text, words):
        return True
    day, _, hour = text.partition(" ")
    date = _DATE.fullmatch(day)
    if date is None or (hour and not (re.fullmatch(r"\d\d:\d\d", hour) and _said(hour, words))):
        return False
    year, month, number = date.groups()
    month = f"{_MONTHS[int(month) - 1]} {int(number)}"
    named = any(_said(f"{month}{ending}", words) for ending in ("", "st", "nd", "rd", "th"))
    return _said(day, words) or (named and _said(year, words))


def _said(text: str, words: str) -> bool:
    return bool(text) and bool(re.search(rf"(?<![\w.@/-]){re.escape(text)}(?![\w@/-])", words))
