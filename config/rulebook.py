"""The rulebook: this process's policy, and how it stands for each tenant and pipeline."""

import time
from pathlib import Path

import structlog

from config.policy import Policy
from config.policy_file import PolicyError, read
from config.settings import settings

log = structlog.get_logger()

LOOK_S = 2.0
_VIEWS = 100_000


class Rulebook:
    """This process's policy, read again when its file changes. A broken one changes nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.file = read(path)
        self._looked = time.monotonic()
        self._seen = self._taken = self._stamp()
        self._views: dict[tuple[str, str], Policy] = {}

    @property
    def revision(self) -> str:
        return self.file.revision

    def of(self, tenant: str, pipeline: str) -> Policy:
        """The policy for one tenant and pipeline, made once for each revision."""
        view = self._views.get((tenant, pipeline))
        if view is None:
            if len(self._views) > _VIEWS:
                self._views.clear()
            view = self._views[tenant, pipeline] = self.file.policy.of(tenant, pipeline)
        return view

    def look(self) -> None:
        """Read the file again where it has changed; every two seconds at most.

        A file is taken once it stood still from one look to the next, and never when it is empty:
        an editor that is saving has written half of it.
        """
        if time.monotonic() - self._looked < LOOK_S:
            return
        self._looked = time.monotonic()
        before, self._seen = self._seen, self._stamp()
        if self._seen == self._taken or self._seen != before:
            return
        self._taken = self._seen
        try:
            found = read(self._path)
        except PolicyError as error:
            log.warning("policy.refused", error=str(error), kept=self.revision)
            return
        if not found.lines:
            log.warning("policy.refused", error="the file is empty", kept=self.revision)
        elif found.revision != self.revision:
            log.warning("policy.changed", revision=found.revision, before=self.revision)
            if found.policy.safe_mode.enabled != self.file.policy.safe_mode.enabled:
                log.warning("policy.restart_needed", about="safe_mode.enabled")
            self.file, self._views = found, {}

    def _stamp(self) -> tuple[int, int]:
        try:
            found = self._path.stat()
        except OSError:
            return 0, 0
        return found.st_mtime_ns, found.st_ino


def rulebook() -> Rulebook:
    """The policy that this process's settings name."""
    return Rulebook(settings().policy)
