"""A share that was seen in a sample, and what that says of the true one."""

from math import sqrt

_Z = 1.96


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Between which shares the true one lies, 19 times in 20, when `hits` of `count` were seen."""
    if count == 0:
        return 0.0, 1.0
    share = hits / count
    spread = _Z * sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    middle, scale = share + _Z**2 / (2 * count), 1 + _Z**2 / count
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
