"""The other side: plain Celery tasks on the same Redis, set as fast as is honest.

No result, acknowledged early, no events, no rate limits, a generous prefetch: nothing that Celery
would do for a task is switched off, and nothing that Sluice does is asked of it.
"""

import itertools
import os
import time
from typing import Any

import redis
from celery import Celery

QUEUE, TIMES, DONE = "raw", "raw:times", "raw:done"

app = Celery("raw", broker=os.environ.get("BENCH_BROKER_URL"), set_as_current=False)
app.conf.update(
    task_ignore_result=True,
    task_acks_late=False,
    task_default_queue=QUEUE,
    task_send_sent_event=False,
    worker_send_task_events=False,
    worker_prefetch_multiplier=64,
    worker_disable_rate_limits=True,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)

_count = itertools.count(1)
_redis: Any = redis.Redis.from_url(os.environ.get("BENCH_REDIS_URL", "redis://"))


@app.task(name="raw.noop", ignore_result=True)
def noop(total: int) -> None:
    """Do nothing; the first and the last of `total` note the time."""
    if next(_count) in {1, total}:
        _note()


@app.task(name="raw.nap", ignore_result=True)
def nap(total: int, seconds: float) -> None:
    """Wait; the first notes when it began, the last when it ended."""
    number = next(_count)
    if number == 1:
        _note()
    time.sleep(seconds)
    if number == total:
        _note()


@app.task(name="raw.echo", ignore_result=True)
def echo() -> None:
    """Say that it ran."""
    _redis.lpush(DONE, 1)


def _note() -> None:
    """What time it is, and how much CPU time this process has used so far."""
    _redis.rpush(TIMES, f"{time.time()} {time.process_time()}")
