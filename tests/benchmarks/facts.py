"""Facts about the machine and the software, without which a figure says nothing."""

import asyncio
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg

from models.database import dsn
from tests.benchmarks.lab import Lab

_PACKAGES = (
    "celery", "kombu", "redis", "asyncpg", "sqlalchemy", "pydantic", "aiohttp", "uvloop", "orjson",
)  # fmt: skip
_SETTINGS = (
    "server_version", "fsync", "synchronous_commit", "shared_buffers", "max_connections",
    "max_wal_size", "wal_level", "full_page_writes", "io_method", "autovacuum_naptime",
)  # fmt: skip


def facts(lab: Lab) -> dict[str, Any]:
    """Everything that a reader of the figures may want to know; no paths, no names."""
    info = lab.redis().info()
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cpu_count": len(os.sched_getaffinity(0)),
        "cpu": _cpu(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "postgres": asyncio.run(_postgres(lab)),
        "redis": {
            "version": info["redis_version"],
            "append_only": bool(info["aof_enabled"]),
            "fsync": lab.redis().config_get("appendfsync").get("appendfsync"),
        },
        "load_before": os.getloadavg(),
    }


async def _postgres(lab: Lab) -> dict[str, str]:
    connection = await asyncpg.connect(dsn(lab.servers.database_url))
    try:
        rows = await connection.fetch(
            "SELECT name, current_setting(name, true) FROM unnest($1::text[]) AS name", _SETTINGS
        )
    finally:
        await connection.close()
    return {name: value for name, value in rows if value is not None}


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str | None:
    here = Path(__file__).parent
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, check=False
    )
    return done.stdout.decode().strip() or None
