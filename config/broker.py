"""The broker: a Celery app that carries bells and submissions, and holds no run state."""

from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from celery.app.amqp import AMQP
from kombu import Queue

from config.envelope import Connection
from config.settings import Settings

BELL = "sluice.bell"
SUBMIT = "sluice.submit"
_BELL_LIFE_S = 10
"""A bell that nobody heard by then says nothing that the next look does not find."""
_RETURNS = 1_000_000
"""RabbitMQ 4 drops, in silence, what came back 20 times; a long outage may return it more often."""


class _Amqp(AMQP):  # type: ignore[misc]  # Celery is untyped
    Connection = Connection


def make_app(url: str, settings: Settings) -> Celery:
    """A Celery app for this broker, ready to ring and to consume; it opens no connection yet."""
    app = Celery("sluice", broker=url, amqp=_Amqp, set_as_current=False)
    app.conf.update(
        _common(settings),
        broker_transport_options=transport_options(url, settings),
        task_queues=[bells(url, settings), submissions(url, settings)],
    )
    return app


def is_redis(url: str) -> bool:
    return urlsplit(url).scheme.startswith("redis") or urlsplit(url).scheme == "rediss"


def bells(url: str, settings: Settings) -> Queue:
    """Where bells wait: briefly, and never many."""
    if is_redis(url):
        return Queue(settings.broker.bells)
    return Queue(
        settings.broker.bells,
        queue_arguments={"x-message-ttl": _BELL_LIFE_S * 1000, "x-max-length": 1000},
    )


def submissions(url: str, settings: Settings) -> Queue:
    """Where submissions wait until their row is committed: replicated, and for days."""
    if is_redis(url):
        return Queue(settings.broker.submissions)
    return Queue(
        settings.broker.submissions,
        queue_arguments={
            "x-queue-type": "quorum",
            "x-message-ttl": int(settings.broker.submission_lifetime_s * 1000),
            "x-delivery-limit": _RETURNS,
        },
    )


def transport_options(url: str, settings: Settings) -> dict[str, Any]:
    """Socket time-outs above all: without them a frozen broker holds its publisher for ever.

    No key prefix on Redis, so that a service reaches us with nothing but the URL and the queue's
    name. What is popped and not acked has keys of our own instead: with a service's workers on
    the same database, the shortest visibility timeout would otherwise rule them all.
    """
    if not is_redis(url):
        return {
            "confirm_publish": True,
            "read_timeout": 5,
            "write_timeout": 5,
            "connect_timeout": 3,
        }
    return {
        "visibility_timeout": settings.broker.visibility_timeout_s,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 5,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "unacked_key": "sluice.unacked",
        "unacked_index_key": "sluice.unacked_index",
        "unacked_mutex_key": "sluice.unacked_mutex",
        # Who is killed while it restores what others left unacked holds this; kombu's 300 s would
        # keep the rest of the fleet from it for as long.
        "unacked_mutex_expire": 5,
    }


def ring(app: Celery, settings: Settings) -> None:
    """Say that something is due. It blocks on a socket: never call it on an event loop.

    Raises:
        kombu.exceptions.OperationalError: The broker is away; workers look by themselves.
    """
    app.send_task(
        BELL,
        queue=settings.broker.bells,
        ignore_result=True,
        expires=_BELL_LIFE_S,
        argsrepr="",
        kwargsrepr="",
    )


def _common(settings: Settings) -> dict[str, Any]:
    return {
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_heartbeat": 30,
        "task_acks_late": False,
        "task_ignore_result": True,
        "result_backend": None,
        "task_serializer": "json",
        "event_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "task_create_missing_queues": False,
        "task_default_queue": settings.broker.bells,
        "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0, "interval_max": 0.2},
        "task_send_sent_event": False,
        "worker_send_task_events": False,
        "worker_pool": "solo",
        "worker_concurrency": 1,
        "worker_prefetch_multiplier": 1,
        "worker_disable_rate_limits": True,
        "worker_redirect_stdouts": False,
        "worker_hijack_root_logger": False,
        "worker_enable_remote_control": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
    }
