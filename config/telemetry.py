"""Telemetry: structured log lines for people and machines, Sentry for what is our fault."""

import logging
import sys

import sentry_sdk
import structlog

from config.policy_logging import Logging
from config.settings import Settings

_QUIET = ("celery", "kombu", "amqp", "asyncio", "aiohttp.access", "alembic")


def configure(settings: Settings, *, part: str, policy: Logging | None = None) -> None:
    """Set up this process's log lines: readable on a terminal, JSON elsewhere, without secrets."""
    own = policy or Logging()
    said = settings.log_level if "log_level" in settings.model_fields_set else own.level
    level = logging.getLevelName((said or settings.log_level).upper())
    terminal = sys.stderr.isatty() if own.structured is None else not own.structured
    render = structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(
                fmt="%H:%M:%S" if terminal else "iso", utc=not terminal
            ),
            structlog.processors.format_exc_info,
            own.redactor.processor,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(part=part)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    if settings.sentry_dsn is not None:
        sentry_sdk.init(
            dsn=settings.sentry_dsn.get_secret_value(),
            send_default_pii=False,
            include_local_variables=False,  # locals hold tickets, keys and prompts
            default_integrations=False,
            before_send=lambda event, _hint: own.redactor(event),
        )
