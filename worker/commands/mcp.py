"""`sluice mcp`: pin the tools of an MCP server, and see whether they are what was pinned."""

import asyncio
import shlex
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console

from tools.mcp import lock as locks
from tools.mcp import servers
from tools.mcp.lock import SUFFIX, Lock
from tools.mcp.pin import Definition, LockError
from tools.mcp.servers import McpMissing
from tools.misfit import faults
from tools.tool import Unavailable
from worker.commands import mcp_table, mcp_words

EXIT_DRIFT, EXIT_WRONG = 1, 2
_PATIENCE_S = 90.0

mcp = typer.Typer(
    no_args_is_help=True,
    help="Tools of MCP servers: pin them in a lock file, and see whether they changed.",
)
console = Console(markup=False, highlight=False)
Name = Annotated[str, typer.Argument(help="What the server is called here, such as github.")]
Command = Annotated[
    str | None,
    typer.Option(help="A program and its arguments: 'npx -y some-server'. Without a shell."),
]
Url = Annotated[str | None, typer.Option(help="Or its streamable HTTP endpoint.")]
Env = Annotated[
    list[str] | None,
    typer.Option(
        metavar="VAR[=OURS]", help="A variable the program gets; filled from ours when it runs."
    ),
]
Header = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=OURS", help="A header of each request, from a variable."),
]
Trusted = Annotated[
    bool | None,
    typer.Option("--trusted/--untrusted", help="Believe what it says of its own tools."),
]
Say = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TOOL:WORD=VALUE[,...]",
        help="What you say of a tool: effect (read, write, write_once, destructive),"
        " key_kept_for_s (repeats are harmless for so long: only then it is a write),"
        " open_world, errors (refused, doubt), timeout_s, cost_usd, result (@FILE with a JSON"
        " schema, for a tool without one). An empty value takes the word back.",
    ),
]
Folder = Annotated[Path, typer.Option(help="Where the lock files are, NAME.lock.json each.")]


@mcp.command("import")
def import_(  # noqa: PLR0917  # typer fills them by name
    name: Name,
    command: Command = None,
    url: Url = None,
    env: Env = None,
    header: Header = None,
    trusted: Trusted = None,
    say: Say = None,
    folder: Folder = Path("mcp"),
) -> None:
    """Ask a server what it offers, and pin that in FOLDER/NAME.lock.json.

    Review the file like code, for it is what runs may use: effects, schemas, and the words
    that prompts are made of. Run it again to renew the lock; what you said of a tool stays.

    Of a server that is not trusted, a tool is DESTRUCTIVE (no run executes it) until you say
    what it does, and what it says against itself counts beside your word.

    Exit codes: 0 written; 1 the server cannot be reached; 2 what was said is wrong.
    """
    try:
        given = _given(command, url, env, header, trusted)
        before = _before(name, folder, given)
        offered = _offered(before)
        words = mcp_words.words(say or [], before, offered)
        after = before.renewed(offered, words)
        path = locks.write(after, folder)
    except (LockError, ValidationError, OSError, ValueError) as error:
        _refuse(faults(error) if isinstance(error, ValidationError) else str(error))
    console.print(mcp_table.table(mcp_table.rows(before, after)))
    console.print(f"\nwritten to {path}; review it like code", soft_wrap=True)


@mcp.command("check")
def check(
    names: Annotated[
        list[str] | None, typer.Argument(help="Servers to look at; all of FOLDER by default.")
    ] = None,
    folder: Folder = Path("mcp"),
) -> None:
    """Ask each server what it offers now, and compare that with its lock.

    A tool that changed or is gone is refused to runs until the lock is renewed. One that is new
    is not used, and no drift.

    Exit codes: 0 all as pinned; 1 something differs, or a server cannot be reached; 2 no lock.
    """
    paths = [folder / (name + SUFFIX) for name in names or []] or sorted(folder.glob(f"*{SUFFIX}"))
    if not paths:
        _refuse(f"there is no lock in {folder}; make one with `sluice mcp import`")
    wrong = [path for path in paths if not _is_as_pinned(path)]
    raise typer.Exit(EXIT_DRIFT if wrong else 0)


def _is_as_pinned(path: Path) -> bool:
    try:
        lock = locks.read(path)
        offered = asyncio.run(_within_patience(lock))
    except LockError as error:
        _refuse(str(error))
    except McpMissing as error:
        _refuse(str(error))
    except (Unavailable, TimeoutError) as error:
        console.print(f"{path}: {mcp_table.plain(str(error) or 'no answer')}", soft_wrap=True)
        return False
    lines = list(mcp_table.drift(lock, offered))
    new = mcp_table.unpinned(lock, offered)
    told = f"; not pinned: {mcp_table.plain(', '.join(new))}" if new else ""
    state = "differs" if lines else f"{len(lock.tools)} tools as pinned"
    console.print(f"{path}: {state}{told}", soft_wrap=True)
    for line in lines:
        console.print(line, soft_wrap=True)
    if lines:
        console.print(f"renew it with `sluice mcp import {lock.server}`", soft_wrap=True)
    return not lines


def _given(
    command: str | None,
    url: str | None,
    env: list[str] | None,
    header: list[str] | None,
    trusted: bool | None,  # noqa: FBT001  # as it was said
) -> dict[str, Any]:
    """How the server is reached and trusted, as far as that was said now."""
    given: dict[str, Any] = {
        "env": mcp_words.pairs(env, bare=True),
        "headers": mcp_words.pairs(header),
    }
    reach = {"command": shlex.split(command or ""), "url": url} if command or url else {}
    return given | reach | ({} if trusted is None else {"trusted": trusted})


def _before(name: str, folder: Path, given: dict[str, Any]) -> Lock:
    """The lock as it is, or a new one without tools, reached and trusted as was said now."""
    path = folder / (name + SUFFIX)
    if not path.exists():
        return Lock.model_validate({"server": name, **given})
    was = locks.reread(path)
    said = {key: value for key, value in given.items() if value not in ({}, None)}
    if "command" in said or "url" in said:
        said = {"command": (), "url": None} | said
    known = was.model_dump(exclude={"tools"})
    fresh = Lock.model_validate(known | said)
    return fresh.renewed({each.definition.name: each.definition for each in was.tools},
                         {each.definition.name: each.operator for each in was.tools})  # fmt: skip


def _offered(lock: Lock) -> dict[str, Definition]:
    try:
        return asyncio.run(_within_patience(lock))
    except McpMissing as error:
        _refuse(str(error))
    except (Unavailable, TimeoutError) as error:
        _refuse(str(error) or f"{lock.server} does not answer", EXIT_DRIFT)


async def _within_patience(lock: Lock) -> dict[str, Definition]:
    async with asyncio.timeout(_PATIENCE_S):
        return await servers.offered(lock)


def _refuse(why: str, code: int = EXIT_WRONG) -> NoReturn:
    typer.echo(f"sluice: {mcp_table.plain(why)}", err=True)
    raise typer.Exit(code)
