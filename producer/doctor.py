"""The doctor: what this installation has, what it lacks, and what that means."""

import asyncio
import sys
from typing import NamedTuple

import asyncpg
from kombu import Connection
from rich.table import Table
from rich.text import Text

from config.broker import transport_options
from config.embedded import EmbeddedError, postgres_bin, redis_binary
from config.policy_file import PolicyError, read
from config.settings import Settings
from config.surroundings import servers
from models import schema
from models.database import DatabaseUnfit, close_database, hot, open_database
from models.guard import lacking, standing
from models.memory import ROLE, Wall, wall
from producer.redacted import said
from producer.tables import console


class Finding(NamedTuple):
    what: str
    well: bool | None
    """None: it is lacking, and Sluice works without it."""
    told: str


async def examine(settings: Settings) -> bool:
    """Look at everything once, print a table, and say whether Sluice can work here."""
    findings = [
        Finding("Python", well=True, told=sys.version.split()[0]),
        Finding(
            "servers",
            well=True,
            told=f"embedded, in {settings.data}" if settings.embedded else "configured by URL",
        ),
    ]
    findings.append(_policy(settings))
    if settings.embedded:
        findings += _binaries()
    try:
        found = await asyncio.to_thread(servers, settings)
    except EmbeddedError as error:
        findings.append(Finding("start", well=False, told=str(error)))
    else:
        findings += await _database(found.database_url, settings.api.guards_proven_within_s)
        findings.append(await asyncio.to_thread(_broker, found.broker_url, settings))
    table = Table(box=None, pad_edge=False, show_header=False)
    for each in findings:
        table.add_row(Text(*_MARKS[each.well]), each.what, each.told)
    console.print(table)
    return all(each.well is not False for each in findings)


_MARKS = {True: ("ok", "green"), None: ("without", "yellow"), False: ("no", "red")}


def _policy(settings: Settings) -> Finding:
    try:
        found = read(settings.policy)
    except PolicyError as error:
        return Finding("policy", well=False, told=str(error))
    return Finding("policy", well=True, told=f"{settings.policy}, revision {found.revision}")


def _binaries() -> list[Finding]:
    try:
        postgres = Finding("PostgreSQL", well=True, told=str(postgres_bin()))
    except EmbeddedError as error:
        postgres = Finding("PostgreSQL", well=False, told=str(error))
    redis = redis_binary()
    told = str(redis) if redis else "no binary: no broker, workers look every 100 ms by themselves"
    return [postgres, Finding("Redis", well=True if redis else None, told=told)]


async def _database(url: str, within_s: float) -> list[Finding]:
    try:
        await open_database(url, connections=1)
    except (OSError, asyncpg.PostgresError, DatabaseUnfit) as error:
        return [Finding("database", well=False, told=(said(str(error)) or "")[:300])]
    try:
        version = await hot().fetchval("SHOW server_version")
        found = [Finding("database", well=True, told=f"PostgreSQL {version} answers")]
        at = await schema.revision(url)
        behind = "" if at == schema.NEWEST else "; run `sluice db upgrade`"
        found.append(Finding("schema", well=not behind or None, told=f"revision {at}{behind}"))
        if not behind:
            living = await hot().fetchval(
                "SELECT count(*) FROM worker WHERE last_seen > now() - interval '30 s'"
            )
            found.append(
                Finding("workers", well=True if living else None, told=f"{living} seen lately")
            )
            lacks = lacking(await standing(), within_s=within_s)
            told = f"not proven lately: {', '.join(lacks)}; `sluice guards verify`"
            found.append(
                Finding("guards", well=not lacks or None, told=told if lacks else "proven")
            )
            found.append(_memory(await wall()))
        return found
    finally:
        await close_database()


def _memory(found: Wall) -> Finding:
    if found is not Wall.NONE:
        told = f"two walls between tenants: its queries, and row-level security by {found}"
        return Finding("memory", well=True, told=told)
    told = (
        "only its queries keep tenants' memories apart: this login passes by row-level security, or"
        f" that is off. As an administrator: CREATE ROLE {ROLE} NOLOGIN; GRANT {ROLE} TO (login);"
        f" GRANT SELECT, INSERT, UPDATE, DELETE ON memory TO {ROLE}"
    )
    return Finding("memory", well=None, told=told)


def _broker(url: str | None, settings: Settings) -> Finding:
    if url is None:
        return Finding("broker", well=None, told="none: workers look every 100 ms by themselves")
    try:
        with Connection(url, transport_options=transport_options(url, settings)) as connection:
            connection.ensure_connection(max_retries=1, timeout=3)
    except Exception as error:  # noqa: BLE001  # each transport raises its own
        return Finding(
            "broker", well=None, told=f"away ({said(repr(error)):.200}); workers look by themselves"
        )
    return Finding("broker", well=True, told=f"{Connection(url).transport_cls} answers")
