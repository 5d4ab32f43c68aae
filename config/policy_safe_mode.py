"""The policy's part on safe mode: what is left of the fleet's powers, and what takes them away."""

from decimal import Decimal
from fnmatch import fnmatchcase

from pydantic import Field

from config.policy_part import Part


class Triggers(Part):
    """What puts the fleet into safe mode by itself; only a person opens it again."""

    window_s: float = Field(default=60, ge=5, le=3600)
    failed_share: float = Field(default=0.5, gt=0, le=1)
    """Of the runs that ended within the window, so many failed for want of a working machine."""
    failed_of: int | None = Field(default=100, ge=1, strict=True)
    """Judged only when at least so many ended; None: never."""
    usd_per_minute: Decimal | None = Field(default=None, gt=0)
    """Spent over the window, by all tenants; None: never."""


class SafeMode(Part):
    """What is left of the fleet's powers while its gate is read-only."""

    enabled: bool = False
    """A standing safe mode, that no console opens: only this file does, and a restart."""
    allowed_tools: tuple[str, ...] = ("search.read", "kb.read")
    """Reads that go on, `*` as in file names; other reads wait as writes do."""
    triggers: Triggers = Triggers()

    def allows(self, tool: str) -> bool:
        return any(fnmatchcase(tool, pattern) for pattern in self.allowed_tools)
