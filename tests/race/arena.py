"""The arena: a run for each writer, the writers, their target, and an open gate."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

from models import contract
from models.database import hot
from models.gate import GateMode, flip
from models.scope import FLEET
from tests.conftest import until
from tests.race.variants import VARIANTS
from tests.race.witness import Arrivals
from tests.race.writer import PIPELINE, TENANT, TOOL, Orders

ROOT = Path(__file__).parents[2]
_START_S = 40.0
_RUN = """
    INSERT INTO run (id, tenant, pipeline, version, input, budget, status, attempt, worker,
                     lease_expires_at)
    VALUES ($1, $2, $3, 1, '{}', '{}', 'running', 1, gen_random_uuid(), now() + interval '1 day')
"""
_INTENTS = """
    SELECT (SELECT coalesce(sum(steps), 0) FROM run)
         + (SELECT coalesce(sum(tries - 1), 0) FROM ledger_entry WHERE tries > 1)
"""
"""Each new intent adds one to its run's steps, and each further one to its entry's tries, in the
transaction that commits it: cheaper to read than the ledger is to count."""


@dataclass
class Arena:
    """Where a race takes place; this process has its database open, and is the operator."""

    arrivals: Arrivals
    folder: Path
    writers: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    async def intents(self) -> int:
        return int(await hot().fetchval(_INTENTS))

    def assert_alive(self) -> None:
        """A race against nobody would be won."""
        for each in self.writers:
            if each.poll() is not None:
                told = "".join(path.read_text() for path in self.folder.glob("writer-*.log"))
                raise RuntimeError(f"a writer ended: {told[-2000:]}")


@asynccontextmanager
async def arena(url: str, folder: Path, variant: str, *, writers: int = 8) -> AsyncIterator[Arena]:
    """Writers of this variant at work, killed in the end; the caller has the database open."""
    folder.mkdir(parents=True, exist_ok=True)
    await _publish()
    await open_gates()
    refuses = ["refuses"] if VARIANTS[variant].refuses else []
    with _process(folder / "witness.log", "tests.race.witness", str(folder), *refuses):
        give_up = time.monotonic() + _START_S
        while not (folder / "url").exists():
            assert time.monotonic() < give_up, (folder / "witness.log").read_text()
            time.sleep(0.02)
        it = Arena(Arrivals(folder), folder)
        with _crew(it, url, variant, await runs(writers)):
            await until(lambda: _all_write(writers), within_s=_START_S)
            yield it
    await open_gates()


async def open_gates() -> None:
    shut = await hot().fetch("SELECT scope FROM gate WHERE mode <> 'open'")
    for scope in {FLEET, *(row["scope"] for row in shut)}:
        await flip(scope, GateMode.OPEN, who="race", reason="the race begins or ends")


async def _publish() -> None:
    """A scope that nobody knows of cannot be flipped."""
    await hot().execute("INSERT INTO tenant (name) VALUES ($1) ON CONFLICT DO NOTHING", TENANT)
    await contract.publish(
        [
            contract.Contract(
                name=PIPELINE, version=1, input_schema={}, result_schema={}, budget={}, tools=[TOOL]
            )
        ]
    )


async def runs(count: int) -> list[UUID]:
    """A running run for each writer, as if it had been claimed for a day."""
    await hot().execute("TRUNCATE run, ledger_entry CASCADE")  # the race has its database to itself
    runs = [uuid4() for _ in range(count)]
    for run in runs:
        await hot().execute(_RUN, run, TENANT, PIPELINE)
    return runs


async def _all_write(writers: int) -> bool:
    return bool(await hot().fetchval("SELECT count(*) FROM run WHERE steps > 0") == writers)


@contextmanager
def _crew(it: Arena, url: str, variant: str, runs: Sequence[UUID]) -> Iterator[None]:
    target = (it.folder / "url").read_text()
    try:
        for number, run in enumerate(runs):
            orders = Orders(url, target, run, variant)
            log = it.folder / f"writer-{number}.log"
            it.writers.append(_start(log, "tests.race.writer", orders.told()))
        yield
    finally:
        for each in it.writers:
            each.kill()
            each.send_signal(signal.SIGCONT)
            each.wait()


@contextmanager
def _process(log: Path, *arguments: str) -> Iterator[None]:
    process = _start(log, *arguments)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _start(log: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
