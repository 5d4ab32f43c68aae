"""Counts for whoever watches: each read from an index, and none of them further than a limit."""

from models.database import hot
from models.run import PAGING

AT_MOST = 10_000
"""What is more is not counted on: a watcher needs no more, and a scrape may cost no more."""

_UNFINISHED = f"""
    SELECT 'queued', count(*) FROM
           (SELECT FROM run WHERE status = 'queued' LIMIT {AT_MOST}) AS queued
    UNION ALL
    SELECT 'running', count(*) FROM
           (SELECT FROM run WHERE status = 'running' LIMIT {AT_MOST}) AS running
    UNION ALL
    SELECT 'waiting', count(*) FROM
           (SELECT FROM run WHERE status = 'waiting' LIMIT {AT_MOST}) AS waiting
"""  # noqa: S608  # constants
_PAGED = f"""
    SELECT stop_reason, count(*) FROM (
        SELECT stop_reason FROM run
         WHERE stop_reason IN ({", ".join(f"'{each}'" for each in PAGING)})
           AND finished_at > now() - interval '1 h'
         LIMIT {AT_MOST}) AS lately
     GROUP BY stop_reason
"""  # noqa: S608  # constants
"""The one index on stop reasons is of those that wake somebody."""


async def unfinished() -> dict[str, int]:
    """Runs by status, `AT_MOST` of each. Finished ones are not counted: it would read the table."""
    return {row[0]: row[1] for row in await hot().fetch(_UNFINISHED)}


async def stops_that_page() -> dict[str, int]:
    """Runs that stopped within the last hour for a reason that wakes somebody, by reason."""
    return {row[0]: row[1] for row in await hot().fetch(_PAGED)}
