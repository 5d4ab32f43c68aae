"""The policy's part on logging: which lines, for whom, with what, and without what."""

import re
from functools import cached_property
from typing import Literal

from pydantic import BaseModel, field_validator

from config.redaction import Redactor

StepField = Literal[
    "run_id", "tenant", "pipeline", "attempt", "step", "tool", "args_hash", "elapsed_s", "status",
    "stop_reason", "tokens", "cost_usd",
]  # fmt: skip


class Logging(BaseModel, frozen=True, extra="forbid"):
    """Of the one line that each step writes."""

    level: Literal["debug", "info", "warning", "error"] | None = None
    """Where SLUICE_LOG_LEVEL does not say otherwise."""
    structured: bool | None = None
    """JSON lines; None: where no terminal reads them."""
    include: tuple[StepField, ...] | None = None
    """The fields of the line that each call writes; None: no such lines."""
    redact: tuple[str, ...] = ()
    """Names whose values are hidden, beside those that always are: in logs, errors and views."""
    redact_patterns: tuple[str, ...] = ()
    """Regular expressions: what they match is hidden wherever it stands, in results too."""

    @field_validator("redact_patterns")
    @classmethod
    def _patterns_match_something(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for each in patterns:
            try:
                empty = re.search(each, "")
            except re.error as error:
                raise ValueError(f"{each!r} is no regular expression: {error}") from None
            if empty:
                raise ValueError(f"{each!r} matches the empty text, so everywhere")
        return patterns

    @cached_property
    def redactor(self) -> Redactor:
        """Made once."""
        return Redactor(self.redact, self.redact_patterns)
