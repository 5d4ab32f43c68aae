"""Levels: what this process knows of how much each pipeline may do by itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from config.rulebook import Rulebook
from models.autonomy import Autonomy, Scopes, by_scope, holds, lowest
from worker.held import Held

log = structlog.get_logger()


class Levels:
    """One per worker process, read together with the gate: no call starts where it is unknown.

    A run has the lowest of the policy's, what was set, and its own. Lowered, it holds for the
    steps that a run in hand begins later; raised, from its next attempt on, so that nothing is
    allowed half-way through that was not when it began.
    """

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook
        self._levels: Scopes | None = None
        self._revision = ""
        self._held: set[Held] = set()

    def read(self, rows: list[Any]) -> None:
        """Take the levels as they stand, and lower whoever is in hand and above."""
        levels = by_scope(rows)
        if levels == self._levels and self._revision == self._rulebook.revision:
            return
        if self._levels is not None:
            log.info("autonomy.seen", levels={"/".join(key): each for key, each in levels.items()})
        self._levels, self._revision = levels, self._rulebook.revision
        for held in self._held:
            self._lower(held)

    @contextmanager
    def hold(self, held: Held) -> Iterator[None]:
        """For as long as an attempt lasts, it has no more than what stands."""
        self._lower(held)
        self._held.add(held)
        try:
            yield
        finally:
            self._held.discard(held)

    def of(self, tenant: str, pipeline: str) -> Autonomy:
        """What stands for a pipeline and a tenant; as little as can be before the first look."""
        if self._levels is None:
            return Autonomy.OBSERVE
        said = self._rulebook.of(tenant, pipeline).autonomy
        return holds(self._levels, tenant, pipeline, said)

    def _lower(self, held: Held) -> None:
        held.autonomy = lowest(held.autonomy, self.of(held.tenant, held.pipeline))
