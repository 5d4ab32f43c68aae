"""The worst case of a call: the most that one try of it may use, reserved before it leaves."""

from decimal import Decimal
from typing import NamedTuple


class Worst(NamedTuple):
    usd: Decimal
    tokens: int = 0
