"""Draining: which runs of a pipeline's version are not over, and who alive can carry them."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from models.contract import WORKER_LIVES_S
from models.database import hot
from models.run import RunStatus

_OPEN = """
    SELECT pipeline, status, waiting_for, count(*) AS runs, min(created_at) AS oldest
      FROM (SELECT * FROM run WHERE status = 'queued'
            UNION ALL SELECT * FROM run WHERE status = 'running'
            UNION ALL SELECT * FROM run WHERE status = 'waiting') AS unfinished
     WHERE version = $1 AND ($2::text IS NULL OR pipeline = $2)
       AND ($3::text IS NULL OR tenant = $3)
     GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
"""One arm for each status has its own small index; finished runs are not looked at."""
_ALIVE = """
    SELECT r.pair ->> 0 AS pipeline, count(DISTINCT worker.id) AS workers
      FROM worker, json_array_elements(worker.runs) AS r(pair)
     WHERE last_seen > now() - make_interval(secs => $2)
       AND (r.pair ->> 1)::int = $1
     GROUP BY 1
"""


class Draining(NamedTuple):
    """What is left of one version."""

    pipeline: str
    version: int
    counts: Mapping[str, int]
    """Runs by where they stand: `queued`, `running`, `waiting (review)`."""
    oldest: datetime | None
    workers: int
    """How many living ones can claim them."""

    @property
    def runs(self) -> int:
        return sum(self.counts.values())


async def draining(
    version: int, *, pipeline: str | None = None, tenant: str | None = None
) -> list[Draining]:
    """What still drains of a version, for each pipeline that has unfinished runs of it; the one
    that is named is told of even if nothing is left."""
    counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    oldest: dict[str, datetime] = {}
    for row in await hot().fetch(_OPEN, version, pipeline, tenant):
        name, waiting = row["pipeline"], row["waiting_for"]
        known = waiting is not None and row["status"] != RunStatus.RUNNING
        counts[name][f"{row['status']} ({waiting})" if known else row["status"]] = row["runs"]
        oldest[name] = min(row["oldest"], oldest.get(name, row["oldest"]))
    alive = dict(await hot().fetch(_ALIVE, version, float(WORKER_LIVES_S)))
    names = sorted({*counts, *([pipeline] if pipeline else [])})
    return [
        Draining(name, version, counts[name], oldest.get(name), alive.get(name, 0))
        for name in names
    ]
