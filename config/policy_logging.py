"""The policy's part on logging: which lines, for whom, with what, and without what."""

from typing import Literal

from pydantic import BaseModel

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
    """Names whose values are hidden, beside those that always are."""
