"""`python -m tests.race` races flips of the gate against writers, and says what leaked."""

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import structlog

from config import embedded
from models import migrate
from models.database import close_database, dsn, open_database
from models.gate import GateMode
from models.scope import FLEET
from tests.race.arena import arena
from tests.race.flipper import Flips, race
from tests.race.idle import idle
from tests.race.variants import VARIANTS
from tests.race.verdict import HEAD, Verdict, row

_EXAMPLES = """
examples:
  python -m tests.race --flips 10000                     the code as it is: a quarter of an hour
  python -m tests.race --flips 60 --variant all          and with each guard taken out
  python -m tests.race --flips 300 --scope tool:race.write --mode closed
  python -m tests.race --flips 300 --idle                nothing in flight: how long a flip takes

variants:
""" + "".join(f"  {name:18} {each.about}\n" for name, each in VARIANTS.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 when a variant leaks that should not, or does not although it should."""
    asked = _parser().parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    names = list(VARIANTS) if asked.variant == "all" else [asked.variant]
    folder = Path(tempfile.mkdtemp(prefix="sluice-race-"))
    folder.chmod(0o755)
    try:
        servers = embedded.start(folder / "data")
        if asked.idle:
            return asyncio.run(_idle(servers.database_url, asked.flips))
        flips = Flips(asked.flips, asked.scope, GateMode(asked.mode))
        verdicts = [
            asyncio.run(_race(servers.database_url, folder / name, name, flips, asked.writers))
            for name in names
        ]
    finally:
        embedded.stop(folder / "data")
        shutil.rmtree(folder, ignore_errors=True)
    _say(HEAD, *map(row, verdicts))
    return sum(bool(each.violated) is VARIANTS[each.name].holds for each in verdicts) and 1


async def _race(url: str, folder: Path, name: str, flips: Flips, writers: int) -> Verdict:
    async with (
        _fresh(url) as database_url,
        arena(database_url, folder, name, writers=writers) as it,
    ):
        return await race(it, name, flips, tell=_say)


async def _idle(url: str, flips: int) -> int:
    async with _fresh(url):
        _say(await idle(flips))
    return 0


@asynccontextmanager
async def _fresh(url: str) -> AsyncIterator[str]:
    """A database of its own, which this process has open."""
    admin, name = await asyncpg.connect(dsn(url)), f"race_{uuid4().hex[:8]}"
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    own = url.replace("@/postgres?", f"@/{name}?")
    await migrate.upgrade(own)
    await open_database(own)
    try:
        yield own
    finally:
        await close_database()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.race",
        description="Race flips of the gate against writers; docs/race.md says what is measured.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--flips", type=int, default=300, metavar="N")
    parser.add_argument("--variant", default="safe", choices=[*VARIANTS, "all"], metavar="NAME")
    parser.add_argument("--writers", type=int, default=8, metavar="N", help="processes")
    parser.add_argument("--scope", default=FLEET)
    parser.add_argument("--mode", default="read_only", choices=["read_only", "closed"])
    parser.add_argument("--idle", action="store_true", help="without writers")
    return parser


def _say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
