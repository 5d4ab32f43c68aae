"""The policy: what the fleet may do by itself, read from one YAML file."""

from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, Field, ValidationError

from config.settings import settings


class PolicyError(ValueError):
    """The policy cannot be read; the sentence says what is wrong, and where."""


class Triggers(BaseModel, frozen=True, extra="forbid"):
    """What puts the fleet into safe mode by itself; only a person opens it again."""

    window_s: float = Field(default=60, ge=5, le=3600)
    failed_share: float = Field(default=0.5, gt=0, le=1)
    """Of the runs that ended within the window, so many failed for want of a working machine."""
    failed_of: int | None = Field(default=100, ge=1)
    """Judged only when at least so many ended; None: never."""
    usd_per_minute: Decimal | None = Field(default=None, gt=0)
    """Spent over the window, by all tenants; None: never."""


class SafeMode(BaseModel, frozen=True, extra="forbid"):
    """What is left of the fleet's powers while its gate is read-only."""

    enabled: bool = False
    """A standing safe mode, that no console opens: only this file does, and a restart."""
    allowed_tools: tuple[str, ...] = ("search.read", "kb.read")
    """Reads that go on, `*` as in file names; other reads wait as writes do."""
    triggers: Triggers = Triggers()

    def allows(self, tool: str) -> bool:
        return any(fnmatchcase(tool, pattern) for pattern in self.allowed_tools)


class Policy(BaseModel, frozen=True, extra="forbid"):
    """Everything in the file; what it leaves out has the safe default."""

    safe_mode: SafeMode = SafeMode()


def read(path: Path) -> Policy:
    """The policy in a file.

    Raises:
        PolicyError: It is not there, is no YAML, or says what no policy says.
    """
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PolicyError(f"the policy {path} cannot be read: {error}") from None
    try:
        return Policy.model_validate({} if said is None else said)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise PolicyError(f"the policy {path} is wrong: {faults}") from None


@cache
def policy() -> Policy:
    """The policy of this process; read once, so that two parts never disagree."""
    return read(settings().policy)
