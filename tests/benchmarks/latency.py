"""Latency: one request at a time, from its POST to the answer that its run has finished."""

import statistics
import time

import orjson

from models.database import hot
from models.tenant import create_key
from tests.benchmarks.lab import TENANT, Lab, Values
from tests.benchmarks.wire import Line, get, post

_WARM_UP = 20
_COMMITS = 100


async def latency(lab: Lab) -> Values:
    """POST /v1/runs, then GET /v1/runs/{id}?wait=, over one connection."""
    async with lab.bench() as bench:
        worker = await bench.worker()
        api, port = bench.api()
        bearer = await create_key(TENANT)
        commit_ms = [await _commit_ms() for _ in range(_COMMITS)]
        line = Line(port)
        for i in range(_WARM_UP):
            _one(line, bearer, f"warm-up-{i}")
        with lab.meter({"worker": worker, "api": api}).running() as meter:
            took_ms = [_one(line, bearer, f"latency-{i}") for i in range(lab.sizes.latency)]
        line.close()
        started_ms = [
            1000 * row[0]
            for row in await hot().fetch(
                "SELECT extract(epoch FROM started_at - created_at)::float FROM run"
                " ORDER BY seq OFFSET $1",
                _WARM_UP,
            )
        ]
        if len(started_ms) != len(took_ms):
            raise AssertionError(f"{len(took_ms)} runs were due, but {len(started_ms)} started")
        return {
            "p50_ms": statistics.median(took_ms),
            "p99_ms": p99(took_ms),
            "started_p50_ms": statistics.median(started_ms),
            "started_p99_ms": p99(started_ms),
            "commit_p50_ms": statistics.median(commit_ms),
            "foreign_percent": meter.foreign_percent,
        }


def p99(samples: list[float]) -> float:
    return statistics.quantiles(samples, n=100, method="inclusive")[-1]


async def _commit_ms() -> float:
    """One row, one commit: a request pays three of these, whatever Sluice does."""
    started = time.monotonic()
    await hot().execute("UPDATE tenant SET created_at = now()")
    return 1000 * (time.monotonic() - started)


def _one(line: Line, bearer: str, key: str) -> float:
    asked = post("/v1/runs", {"pipeline": "noop", "input": {"n": 1}}, bearer=bearer, key=key)
    started = time.monotonic()
    status, body = line.ask(asked)
    run_id = orjson.loads(body)["run_id"] if status == 202 else None
    _, body = line.ask(get(f"/v1/runs/{run_id}?wait=10", bearer=bearer))
    took_ms = 1000 * (time.monotonic() - started)
    if orjson.loads(body).get("stop_reason") != "success":
        raise AssertionError(f"{status} and then {body[:300]!r}: the run did not finish")
    return took_ms
