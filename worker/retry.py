"""A retry: how long to wait before the next try, and where."""

import random
from collections.abc import Sequence
from typing import NamedTuple

IN_PLACE_S = 2.0
"""A longer wait becomes a snooze, so that no run holds its place asleep."""
_FIRST_S, _LONGEST_S = 0.2, 60.0


class Pause(NamedTuple):
    """Exponential backoff with full jitter; what the target asked for is a floor."""

    seconds: float
    snooze_s: float
    """As long, when it is slept away from the worker: never shorter than the backoff's step."""


def pause(tries: int, retry_after_s: float | None, backoff_ms: Sequence[int] = ()) -> Pause:
    """Before the try after this many (Marc Brooker, "Exponential Backoff And Jitter", AWS 2015).

    `backoff_ms` are the steps where the policy names them; the last one stays.
    """
    step_s = min(_LONGEST_S, _FIRST_S * 2.0 ** min(tries, 12))
    if backoff_ms:
        step_s = backoff_ms[min(tries, len(backoff_ms)) - 1] / 1000
    seconds = max(retry_after_s or 0.0, random.uniform(0, step_s))  # noqa: S311  # jitter
    return Pause(seconds, max(seconds, step_s))
