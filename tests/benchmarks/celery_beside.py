"""Raw Celery beside it: the same questions, asked of plain tasks on the same Redis."""

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery

from tests.benchmarks.lab import Lab, Values, until_quiet
from tests.benchmarks.latency import p99
from tests.benchmarks.meter import peak_rss_mb
from tests.benchmarks.raw_celery import DONE, QUEUE, TIMES

_PATIENCE_S = 120
_WARM_UP = 20
_APP = "tests.benchmarks.raw_celery"


async def send(lab: Lab) -> Values:
    """Tasks published by one thread; what is accepted is in Redis, and on disk within a second."""
    lab.redis().flushall()
    with _client(lab) as app, lab.meter({}).running() as meter:
        for _ in range(lab.sizes.raw):
            app.send_task("raw.noop", (lab.sizes.raw,), queue=QUEUE, ignore_result=True)
    _stored(lab, lab.sizes.raw)
    return {
        "per_s": lab.sizes.raw / meter.wall_s,
        "cpu_us": 1e6 * meter.cpu_s["client"] / lab.sizes.raw,
        "foreign_percent": meter.foreign_percent,
    }


async def drain(lab: Lab) -> Values:
    """No-op tasks, published before, through one worker process on the solo pool."""
    lab.redis().flushall()
    with _client(lab) as app:
        for _ in range(lab.sizes.raw):
            app.send_task("raw.noop", (lab.sizes.raw,), queue=QUEUE, ignore_result=True)
    _stored(lab, lab.sizes.raw)
    with lab.meter({}).running() as meter, _worker(lab, "--pool=solo") as process:
        took_s, used_s = _took_s(lab)
        rss_mb = peak_rss_mb(process.pid)
    return {
        "per_s": lab.sizes.raw / took_s,
        "cpu_us": 1e6 * used_s / lab.sizes.raw,
        "rss_mb": rss_mb,
        "foreign_percent": meter.foreign_percent,
    }


async def latency(lab: Lab) -> Values:
    """From send_task to the moment its body is seen; there is no result to wait for."""
    lab.redis().flushall()
    wire = lab.redis()
    with _client(lab) as app, _worker(lab, "--pool=solo") as process:
        await until_quiet(process.pid)
        took_ms = []
        with lab.meter({}).running() as meter:
            for _ in range(lab.sizes.latency + _WARM_UP):
                started = time.monotonic()
                app.send_task("raw.echo", queue=QUEUE, ignore_result=True)
                if wire.blpop(DONE, 30) is None:
                    raise AssertionError("a task did not run within 30 s")
                took_ms.append(1000 * (time.monotonic() - started))
    del took_ms[:_WARM_UP]
    return {
        "p50_ms": statistics.median(took_ms),
        "p99_ms": p99(took_ms),
        "foreign_percent": meter.foreign_percent,
    }


async def waits(lab: Lab) -> Values:
    """Tasks that each sleep for one second, in as many threads."""
    lab.redis().flushall()
    count = lab.sizes.waits
    with _client(lab) as app:
        for _ in range(count):
            app.send_task("raw.nap", (count, 1.0), queue=QUEUE, ignore_result=True)
    with (
        lab.meter({}).running() as meter,
        _worker(lab, "--pool=threads", f"--concurrency={count}"),
    ):
        seconds, _ = _took_s(lab)
    return {"seconds": seconds, "foreign_percent": meter.foreign_percent}


@contextmanager
def _client(lab: Lab) -> Iterator[Any]:
    app = Celery("raw", broker=lab.broker_url, set_as_current=False)
    app.conf.update(task_default_queue=QUEUE, task_send_sent_event=False)
    yield app
    app.close()


@contextmanager
def _worker(lab: Lab, *pool: str) -> Iterator["subprocess.Popen[bytes]"]:
    env = os.environ | {
        "BENCH_BROKER_URL": lab.broker_url,
        "BENCH_REDIS_URL": lab.redis_url,
    }
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=ERROR")
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", _APP, "worker", *pool, *quiet],
        env=env | {"C_FORCE_ROOT": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _stored(lab: Lab, count: int) -> None:
    stored = lab.redis().llen(QUEUE)
    if stored != count:
        raise AssertionError(f"{count} tasks were due in Redis, but there are {stored}")


def _took_s(lab: Lab) -> tuple[float, float]:
    """Seconds and CPU seconds from the first body to the last, by the worker's own clocks."""
    give_up = time.monotonic() + _PATIENCE_S
    while lab.redis().llen(TIMES) < 2:
        if time.monotonic() > give_up:
            raise AssertionError(f"Celery did not run its tasks within {_PATIENCE_S} s")
        time.sleep(0.1)
    first, last = (tuple(map(float, note.split())) for note in lab.redis().lrange(TIMES, 0, -1))
    return last[0] - first[0], last[1] - first[1]
