"""The other side's task, as one writes it who has read Celery's manual.

Retries only what the network may do, with backoff and jitter and an end, acknowledged late.
"""

import json
import os
import urllib.request
from http.client import HTTPException
from typing import Any

from celery import Celery

_TIMEOUT_S = 2.0
"""As long as Sluice's tool waits for an answer."""

app = Celery(
    "incident",
    broker=os.environ.get("INCIDENT_BROKER_URL"),
    backend=os.environ.get("INCIDENT_BROKER_URL"),
    set_as_current=False,
)
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)


@app.task(  # type: ignore[untyped-decorator]  # Celery is half typed
    bind=True,
    name="incident.file_ticket",
    autoretry_for=(OSError, HTTPException),  # URLError, HTTPError, resets and timeouts are OSError
    retry_backoff=True,
    retry_backoff_max=60,
    retry_jitter=True,
    max_retries=5,
)
def file_ticket(self: Any, desk: str, ref: str, title: str, key: str | None) -> str:
    """Open a ticket, under the task's own id when there is no better key: it outlives a retry."""
    request = urllib.request.Request(  # noqa: S310  # the desk of the test
        f"{desk}/tickets",
        json.dumps({"external_ref": ref, "title": title}).encode(),
        {"Content-Type": "application/json", "Idempotency-Key": key or self.request.id},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310  # the same
        return str(json.load(answer)["id"])


@app.task(name="incident.ready")  # type: ignore[untyped-decorator]  # the same
def ready() -> bool:
    return True
