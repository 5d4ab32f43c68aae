"""A command's connections, and how it says what went wrong."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import structlog
import typer
import uvloop
from pydantic import ValidationError

from config.bell import Bell
from config.broker import make_app
from config.settings import settings
from config.surroundings import servers
from models import schema
from models.database import DatabaseUnfit, close_database, open_database
from models.request import Malformed, Refused, read_json
from models.verdict import BadAnswer, NotOpen
from producer.redacted import said


@asynccontextmanager
async def database() -> AsyncIterator[Bell]:
    """The database, open for one command, and the bell to ring when it made something due."""
    own = settings()
    found = servers(own)
    await schema.ensure(found.database_url, embedded=own.embedded)
    await open_database(found.database_url, connections=3)
    bell = Bell(make_app(found.broker_url, own) if found.broker_url else None, own)
    try:
        yield bell
    finally:
        await bell.close()
        await close_database()


def run(command: Coroutine[Any, Any, None]) -> None:
    """Run a command to its end, without log lines; a refusal is a sentence and exit code 2."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(command)
    except ValidationError:
        raise  # of the settings: `main` tells it without the values, which may be secret
    except (Refused, NotOpen, BadAnswer, ValueError) as error:
        typer.echo(f"sluice: {said(str(error))}", err=True)
        raise typer.Exit(2) from None
    except (DatabaseUnfit, asyncpg.PostgresError, OSError) as error:
        told = said(str(error)) or type(error).__name__
        typer.echo(f"sluice: the database cannot be worked with: {told}", err=True)
        raise typer.Exit(1) from None


def operator() -> str:
    """Who sits at this terminal, as far as the system knows."""
    return os.environ.get("USER") or f"uid {os.getuid()}"


def document(text: str) -> Any:
    """JSON from the command line: itself, `@FILE`, or `-` for standard input."""
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        text = Path(text[1:]).read_text(encoding="utf-8")
    try:
        value = read_json(text.encode())
        orjson.dumps(value)  # what it cannot hold would arrive as something else
    except (Malformed, TypeError, UnicodeEncodeError) as error:
        raise typer.BadParameter(f"this is no JSON: {error}") from None
    return value
