"""Have the incident again: `python -m tests.incident [--tickets N] [--seed S] [--json FILE]`."""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path

import orjson
from rich.console import Console

from tests.benchmarks.lab import TINY, Bench, Lab, lab_of
from tests.conftest import until
from tests.desk import Desk, started_desk
from tests.incident.celery_side import celery_side
from tests.incident.clients import Side, ask_all
from tests.incident.plan import ROUNDS, Plan, Round, befall
from tests.incident.sluice_side import sluice_side
from tests.incident.tally import Tally, show, tally

SIDES: dict[str, Callable[[Bench, Desk], AbstractAsyncContextManager[Side]]] = {
    "celery": partial(celery_side, key_of_ref=False),
    "celery-ref": partial(celery_side, key_of_ref=True),
    "sluice": partial(sluice_side, pipeline="file-ticket"),
    "sluice-once": partial(sluice_side, pipeline="file-ticket-once"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Go through the rounds, show each, and write them down."""
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and clean up
    console = Console(width=None if os.isatty(1) else 120, highlight=False)
    plan = Plan(asked.tickets, asked.seed, asked.seconds, asked.patience)
    tallies: list[Tally] = []
    with lab_of(TINY) as lab:
        for kind in ROUNDS:
            if not asked.only or kind.name in asked.only:
                of_round = asyncio.run(play(lab, kind, plan))
                show(kind, plan, of_round, console)
                tallies += of_round
    if asked.json is not None:
        asked.json.write_bytes(orjson.dumps([asdict(each) for each in tallies]))


async def play(lab: Lab, kind: Round, plan: Plan) -> list[Tally]:
    """All sides of a round at once, each with a desk of its own in the same weather.

    None begins before all are ready: one's start would slow down another.
    """
    async with lab.bench() as bench, AsyncExitStack() as standing:
        sides: dict[str, tuple[Desk, Side]] = {}
        for name in kind.sides:
            desk = standing.enter_context(started_desk(bench.fleet.folder / name))
            sides[name] = desk, await standing.enter_async_context(SIDES[name](bench, desk))
        return await asyncio.gather(
            *(_one(kind, plan, name, desk, side) for name, (desk, side) in sides.items())
        )


async def _one(kind: Round, plan: Plan, name: str, desk: Desk, side: Side) -> Tally:
    started = time.monotonic()
    asks, _ = await asyncio.gather(ask_all(side, plan), befall(desk, plan, kind))
    with suppress(AssertionError):  # the tally names what is not over
        await until(side.settled, within_s=plan.patience_s)
    seconds = time.monotonic() - started
    said = await side.outcomes()
    return tally(kind, name, asks=asks, said=said, record=desk.record, seconds=seconds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.incident", description=__doc__)
    parser.add_argument("--tickets", type=int, default=300)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=30, help="over which the clients arrive")
    parser.add_argument("--patience", type=float, default=180, help="for what still moves then")
    parser.add_argument("--only", action="append", choices=[kind.name for kind in ROUNDS])
    parser.add_argument("--json", type=Path, help="where every figure goes")
    return parser


if __name__ == "__main__":
    main()
