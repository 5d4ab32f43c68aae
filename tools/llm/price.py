"""A price: what an endpoint charges for so many tokens, by settings or by the pinned table."""

from collections.abc import Callable
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple

from config.endpoint import Endpoint

_MILLION = Decimal(1_000_000)
_LEAST = Decimal("0.00000001")


class Unpriced(Exception):
    """Nobody says what the model costs: a budget cannot be kept."""


class Price(NamedTuple):
    """`usd(tokens_in, tokens_out)`, never rounded down; `table` says whose word it is."""

    usd: Callable[[int, int], Decimal]
    table: str


@lru_cache(maxsize=1000)
def price(endpoint: Endpoint) -> Price:
    """What this endpoint charges.

    Raises:
        Unpriced: Neither its settings nor the pinned table say.
    """
    each_in, each_out = endpoint.usd_per_million_in, endpoint.usd_per_million_out
    if each_in is None or each_out is None:
        return _pinned(endpoint)

    def usd(tokens_in: int, tokens_out: int) -> Decimal:
        return _up((each_in * tokens_in + each_out * tokens_out) / _MILLION)

    return Price(usd, "settings")


def _pinned(endpoint: Endpoint) -> Price:
    """By genai-prices as it was installed, pinned by hash; it is never told to update itself."""
    prices: Any = import_module("genai_prices")

    def found(tokens_in: int, tokens_out: int) -> Any:
        used = prices.Usage(input_tokens=tokens_in, output_tokens=tokens_out)
        url = str(endpoint.base_url)
        return prices.calc_price(used, endpoint.model, provider_api_url=url)

    try:
        known = found(1, 1).model_price
    except LookupError:
        known = None
    if known is None or known.input_mtok is None or known.output_mtok is None:
        raise Unpriced(
            f"nobody says what {endpoint.model} at {endpoint.base_url} costs: give it"
            " usd_per_million_in and usd_per_million_out (0 on purpose for a server of your own)"
        )

    def usd(tokens_in: int, tokens_out: int) -> Decimal:
        return _up(found(tokens_in, tokens_out).total_price)

    return Price(usd, f"genai-prices {prices.__version__}")


def _up(usd: Decimal) -> Decimal:
    return usd.quantize(_LEAST, ROUND_CEILING)
