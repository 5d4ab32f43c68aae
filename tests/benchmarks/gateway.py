"""The gateway: what one call costs by itself, in a process that talks to nobody.

All gates, contracts and records are the real ones; what the journal is given stays where it is.
"""

import asyncio
import gc
import os
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import uvloop
from asyncpg.pgproto import pgproto

from config.rulebook import rulebook
from models.budget import Budget, Usage
from tests.benchmarks.lab import Lab, Values
from tests.pipelines import read, write
from tools.health import Health
from tools.tool import Tool
from worker.gatekeeper import Gatekeeper
from worker.gateway import Gateway
from worker.held import Held

_ROUNDS = 25
_STEPS = 5
_USD = Decimal(1)


class _Journal:
    """Takes everything, and keeps nothing."""

    async def record(self, entry: object) -> None:
        pass

    async def intend(self, entry: object) -> None:
        pass

    async def settle(self, entry: object) -> None:
        pass


async def gateway(lab: Lab) -> Values:
    """CPU time of one call, the best and the middle of many rounds."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks.gateway", str(lab.sizes.gateway)),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env=os.environ,
    )
    told, _ = await process.communicate()
    if process.returncode:
        raise AssertionError(f"it ended with {process.returncode}")
    values: Values = orjson.loads(told)
    return values


def _door() -> Gateway:
    rules = rulebook()
    gatekeeper, health = Gatekeeper(rules, patience_s=2), Health(uuid4())
    gatekeeper._shut, gatekeeper._seen = {}, float("inf")
    for tool in (read, write):
        patient = health._ward.patient(tool.name, rules.file.policy.tools.circuit_breakers)
        patient.easy_until = float("inf")
    journal: Any = _Journal()
    return Gateway(journal, gatekeeper, rules, health, send_before_s=2)


def _held() -> Held:
    budget = Budget(cost_usd=_USD)
    now, run = time.monotonic(), pgproto.UUID(uuid4().bytes)  # as rows have it
    return Held(run, 1, "acme", "bench", 1, None, b"{}", budget, Usage(), 0, now, 0.0)


async def _round(door: Gateway, tool: Tool[Any, Any], calls: int) -> float:
    runs, allowed = [_held() for _ in range(calls // _STEPS)], {tool.name: tool}
    gc.collect()
    started = time.process_time()
    for held in runs:
        for n in range(_STEPS):
            await door.call(held, tool, {"n": n}, step=f"s-{n}", number=n, allowed=allowed)
    return 1e6 * (time.process_time() - started) / calls


async def _measure(calls: int) -> Values:
    door = _door()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)  # as a worker does
    values: Values = {}
    rounds = [[await _round(door, tool, calls) for tool in (read, write)] for _ in range(_ROUNDS)]
    for name, figures in zip(("read", "write"), zip(*rounds, strict=True), strict=True):
        values[f"{name}_us"] = min(figures)
        values[f"{name}_middle_us"] = sorted(figures)[len(figures) // 2]
    return values | {"foreign_percent": 0.0}


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(uvloop.run(_measure(int(sys.argv[1])))))
