"""Measure: `python -m tests.benchmarks [--quick] [--only NAME] [--json FILE]`."""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from tests.benchmarks import accept, celery_beside, drain, gateway, latency
from tests.benchmarks.facts import facts
from tests.benchmarks.lab import FULL, QUICK, TINY, Lab, Values, lab_of
from tests.benchmarks.meter import on_one_core, python_speed
from tests.benchmarks.report import Sample, document, show

ROUNDS = 3
_SPEED_TRIES = 3

MEASUREMENTS: dict[str, Callable[[Lab], Coroutine[Any, Any, Values]]] = {
    "noop": drain.noop,
    "celery-drain": celery_beside.drain,
    "reads": drain.reads,
    "writes": drain.writes,
    "gateway": gateway.gateway,
    "http-16": partial(accept.http, connections=16),
    "celery-send": celery_beside.send,
    "http-64": partial(accept.http, connections=64),
    "bulk": accept.bulk,
    "broker": accept.broker,
    "latency": latency.latency,
    "celery-latency": celery_beside.latency,
    "waits": drain.waits,
    "celery-waits": celery_beside.waits,
}
"""What is compared stands side by side, so that one weather rules over both."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for, show it, and write it down; exit 1 when something failed."""
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and clean up
    console = Console(width=None if os.isatty(1) else 160, highlight=False)
    quick = asked.quick or asked.tiny
    names = [name for name in MEASUREMENTS if not asked.only or name in asked.only]
    plan = [
        (number, pinned, name)
        for number in range(asked.rounds or (1 if quick else ROUNDS))
        for pinned in ((False,) if quick else (False, True))
        for name in names
    ]
    failures: list[str] = []
    with lab_of(TINY if asked.tiny else QUICK if quick else FULL) as lab:
        known = facts(lab)
        samples = list(measure(lab, plan, failures, console, within_s=60 * asked.minutes))
    if samples:
        show(samples, console)
    if asked.json is not None:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        told = document(samples, known) | {"failures": failures}
        asked.json.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")
    sys.exit(1 if failures else 0)


def measure(
    lab: Lab,
    plan: Sequence[tuple[int, bool, str]],
    failures: list[str],
    console: Console,
    *,
    within_s: float,
) -> Iterator[Sample]:
    """Go through the plan; what fails is named, and the rest goes on."""
    until = time.monotonic() + within_s
    for place, (number, pinned, name) in enumerate(plan):
        if time.monotonic() > until:
            console.print(f"time is up: {len(plan) - place} of {len(plan)} samples are left out")
            return
        who = f"{number + 1}  {'pinned' if pinned else 'free':6}  {name:14}"
        speed = max(python_speed() for _ in range(_SPEED_TRIES))
        try:
            with on_one_core(pinned=pinned):
                values = asyncio.run(MEASUREMENTS[name](lab))
        except Exception as error:  # noqa: BLE001  # others' samples are still worth having
            failures.append(f"{name}: {error!r}"[:2000])
            console.print(f"{who}  FAILED: {error}", markup=False)
            continue
        told = "  ".join(f"{key} {value:,.4g}" for key, value in values.items())
        console.print(f"{who}  {told}")
        yield Sample(name, pinned, number, values, speed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke of about one minute")
    parser.add_argument("--tiny", action="store_true", help="as little as shows that it works")
    parser.add_argument("--only", action="append", choices=MEASUREMENTS, help="may be repeated")
    parser.add_argument("--rounds", type=int, help="how often; medians are over these")
    parser.add_argument("--minutes", type=float, default=9, help="what comes later is left out")
    parser.add_argument("--json", type=Path, help="where every sample goes")
    return parser


if __name__ == "__main__":
    main()
