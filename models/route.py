"""Routes: where an error goes. One table for all stop reasons."""

from enum import StrEnum

from models.run import StopReason


class Route(StrEnum):
    """Who deals with it."""

    CRITICAL = "critical"  # on-call, at once; the run stops where it is
    AMBIGUOUS = "ambiguous"  # a person, in a review; the run waits meanwhile
    RECOVERABLE = "recoverable"  # the machine: tried again or waited for, up to a limit
    MINOR = "minor"  # nobody: it is in the log and on record

    @property
    def told(self) -> str:
        """What has been done about it once the run is over."""
        return _TOLD[self]


_TOLD = {
    Route.CRITICAL: "on-call is told at once, and nothing is tried again",
    Route.AMBIGUOUS: "a person was asked, and this came of it",
    Route.RECOVERABLE: "where it may help, it was tried again or waited for, within the limits",
    Route.MINOR: "it is on record; nobody is told",
}
_R = StopReason
_BY_ROUTE = {
    Route.CRITICAL: (
        _R.TOOL_AUTH_FAILED, _R.IN_DOUBT, _R.REPLAY_MISMATCH, _R.CRASHES_EXHAUSTED,
        _R.INTERNAL_ERROR,
    ),
    Route.AMBIGUOUS: (_R.REVIEW_REJECTED, _R.REVIEW_EXPIRED, _R.PROPOSED),
    Route.RECOVERABLE: (
        _R.TOOL_TIMEOUT, _R.TOOL_RATE_LIMIT, _R.TOOL_FAILED, _R.CIRCUIT_OPEN, _R.MODEL_FAILED,
        _R.MODEL_OUTPUT_INVALID, _R.COST_BUDGET, _R.SAFE_MODE,
    ),
    Route.MINOR: (
        _R.SUCCESS, _R.STEP_BUDGET, _R.TOOL_BUDGET, _R.TIME_BUDGET, _R.TOKEN_BUDGET,
        _R.LOOP_DETECTED, _R.NO_PROGRESS, _R.TOOL_DENIED, _R.TOOL_OUTPUT_INVALID, _R.CANCELLED,
        _R.INVALID_INPUT,
    ),
}  # fmt: skip
ROUTES = {reason: route for route, reasons in _BY_ROUTE.items() for reason in reasons}
"""Every stop reason has one; those of CRITICAL are the ones that page."""
