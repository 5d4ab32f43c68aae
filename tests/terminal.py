"""A terminal: `sluice COMMAND` as somebody types it, its exit code, and what it said."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

_SHELL = """
import contextlib, io, json, sys, traceback
from config import command

for line in sys.stdin:
    sys.argv, code = ["sluice", *json.loads(line)], 0
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        try:
            command.main()
        except SystemExit as left:
            code = left.code or 0
        except BaseException:
            traceback.print_exc()
            code = 1
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""
"""One process for many commands: their imports take ten times as long as what they do."""
_PATIENCE_S = 60.0


class Said(NamedTuple):
    """What became of a command."""

    code: int
    out: str
    err: str


class Terminal:
    """Somebody called ada, before a wide terminal without colours."""

    def __init__(self, database_url: str) -> None:
        self._env = {name: value for name, value in os.environ.items() if name[:7] != "SLUICE_"} | {
            "SLUICE_DATABASE_URL": database_url,
            "COLUMNS": "200",
            "NO_COLOR": "1",
            "USER": "ada",
        }
        self._shell: Process | None = None

    async def __call__(self, *words: str) -> Said:
        """Run a command to its end; one after the other."""
        if self._shell is None:
            self._shell = await asyncio.create_subprocess_exec(
                sys.executable, "-c", _SHELL, env=self._env, stdin=PIPE, stdout=PIPE
            )
        shell = self._shell
        assert shell.stdin is not None
        assert shell.stdout is not None
        shell.stdin.write(json.dumps(words).encode() + b"\n")
        async with asyncio.timeout(_PATIENCE_S):
            return Said(*json.loads(await shell.stdout.readline()))

    async def alone(self, *words: str, program: str = "", **settings: str) -> Process:
        """Start a process of its own; `program` is what to run in place of the command."""
        how = ("-c", program) if program else ("-m", "config.command")
        own = {f"SLUICE_{name}": value for name, value in settings.items()}
        return await asyncio.create_subprocess_exec(
            sys.executable, *how, *words, env=self._env | own, stdin=DEVNULL, stdout=PIPE,
            stderr=PIPE,
        )  # fmt: skip

    async def end(self) -> None:
        if self._shell is not None and self._shell.stdin is not None:
            self._shell.stdin.close()
            await self._shell.wait()


async def ended(process: Process) -> Said:
    """What a process of its own said, once it is over."""
    async with asyncio.timeout(_PATIENCE_S):
        out, err = await process.communicate()
    return Said(process.returncode or 0, out.decode(), err.decode())


@asynccontextmanager
async def terminal(database_url: str) -> AsyncIterator[Terminal]:
    sluice = Terminal(database_url)
    try:
        yield sluice
    finally:
        await sluice.end()
