"""Break everything, again and again: `python -m tests.chaos [--minutes M] [--seed S] [--long]`.

Three workers under load, a desk that fails, and a nemesis. At the end everything heals, it must
become quiet, and the history of every run is checked. Exit code 1 when a promise broke.
"""

import argparse
import asyncio
import logging
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from models.database import hot
from models.review import Verdict
from models.run import RunStatus
from models.verdict import NotOpen, answer
from tests.chaos.arena import LEASE_S, Arena, arena, patiently
from tests.chaos.load import Load, wishes
from tests.chaos.nemesis import DESK, Nemesis
from tests.chaos.verdict import judge, show

RUNS_A_MINUTE = 300
_QUIET_S = 180.0
_TELL_S = 15.0
_LAST_S = 5.0
"""The last request is sent so long before the last blow."""
_PAUSE_S = 3.0
"""Between two blows, about."""
_DOUBTS = """
    SELECT id, run_id, step FROM review WHERE verdict IS NULL AND kind = 'in_doubt' LIMIT 200
"""
_STATUS = "SELECT status, count(*) FROM run GROUP BY status"


@dataclass(frozen=True)
class Plan:
    """What one session of chaos is to be."""

    minutes: float
    requests: int
    brokers: str
    seed: int
    promised_s: float
    logs: Path | None


def main(arguments: Sequence[str] | None = None) -> None:
    plan = _plan(_parser().parse_args(arguments))
    for name in [name for name in os.environ if name.startswith("SLUICE_")]:
        del os.environ[name]
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)  # an outage is no news here
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and clean up
    console = Console(width=None if os.isatty(1) else 120, highlight=False)
    console.print(
        f"{plan.minutes:g} minutes, {plan.requests:,} requests, {plan.brokers}, seed {plan.seed}"
    )
    sys.exit(asyncio.run(chaos(console, plan)))


async def chaos(console: Console, plan: Plan) -> int:
    """Return the exit code."""
    chance = random.Random(plan.seed)  # noqa: S311  # repeatable
    async with arena(plan.brokers, seed=plan.seed) as it:
        load = Load(it, wishes(plan.requests, it.brokers, chance))
        nemesis = Nemesis(it, chance)
        keeping = asyncio.create_task(it.keep())
        await patiently(_started)
        telling = asyncio.create_task(_tell(console, load, nemesis))
        it.desk.set(**DESK)
        until = time.time() + 60 * plan.minutes
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run(until - _LAST_S))
            group.create_task(nemesis.rage(until, pause_s=_PAUSE_S))
        await nemesis.heal()
        console.print("everything is healed; now it must become quiet")
        quiet = await _become_quiet(it, load)
        verdict = await judge(it, load, nemesis.deeds, promised_s=plan.promised_s)
        show(console, it, load, nemesis.deeds, verdict)
        for task in (keeping, telling):
            if task.done():
                task.result()  # raises what ended it
            task.cancel()
        await asyncio.gather(keeping, telling, return_exceptions=True)
        if plan.logs is not None:
            shutil.copytree(it.folder / "logs", plan.logs, dirs_exist_ok=True)
    if not quiet:
        console.print(f"it did not become quiet within {_QUIET_S:g} s")
    return 0 if quiet and not verdict.wrong else 1


async def _started() -> None:
    while not await hot().fetchval("SELECT count(*) FROM worker"):
        await asyncio.sleep(0.2)


async def _become_quiet(it: Arena, load: Load) -> bool:
    """Every request has its run, and every run is over; doubts are answered truthfully."""
    give_up = time.monotonic() + _QUIET_S
    while time.monotonic() < give_up:
        all_known = await load.settle()
        await _answer_doubts(it)
        open_runs = await hot().fetchval("SELECT count(*) FROM run WHERE status <> 'finished'")
        if all_known and open_runs == 0:
            return True
        await asyncio.sleep(0.5)
    return False


async def _answer_doubts(it: Arena) -> None:
    tickets = {ticket.key: ticket for ticket in it.desk.record.tickets()}
    for row in await hot().fetch(_DOUBTS):
        there = tickets.get(f"{row['run_id']}:{row['step']}")
        told: dict[str, Any] = {}
        if there is not None:
            told = {"value": {"id": str(there.id), "external_ref": there.external_ref}}
        verdict = Verdict.EDITED if there else Verdict.APPROVED
        with suppress(NotOpen):
            await answer(row["id"], verdict, who="ann", **told)


async def _tell(console: Console, load: Load, nemesis: Nemesis) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(_TELL_S)
        runs = dict(await patiently(lambda: hot().fetch(_STATUS)))
        told = ", ".join(f"{runs.get(status, 0):,} {status}" for status in RunStatus)
        seconds, known = time.monotonic() - began, sum(runs.values())
        blows = nemesis.counts().total()
        console.print(f"{seconds:5.0f} s  {known:,} of {len(load.wishes):,}: {told}; {blows} blows")


def _plan(asked: argparse.Namespace) -> Plan:
    minutes = asked.minutes or (60 if asked.long else 4)
    requests = asked.runs or (10_000 if asked.long else int(RUNS_A_MINUTE * minutes))
    brokers = asked.broker or ("both" if asked.long else "redis")
    return Plan(minutes, requests, brokers, asked.seed, asked.promised_s, asked.logs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, help="how long things are broken; 4")
    parser.add_argument("--runs", type=int, help=f"requests; {RUNS_A_MINUTE} a minute")
    parser.add_argument("--broker", choices=("redis", "rabbitmq", "both"), help="redis")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--long", action="store_true", help="an hour, 10,000 requests, both")
    parser.add_argument("--promised-s", type=float, default=LEASE_S + 2, help="of a recovery; 5")
    parser.add_argument("--logs", type=Path, help="keep the processes' logs in this folder")
    return parser


if __name__ == "__main__":
    main()
