"""Canonical JSON as RFC 8785 has it: one value, one text, hence one hash."""

import hashlib
import json
import math
from decimal import Decimal
from typing import Any

_EXACT = 2**53
"""Beyond it JSON's numbers are doubles: other readers would not tell two neighbours apart."""
_PLAIN_DIGITS, _PLAIN_ZEROS = 21, -6
"""Where ECMAScript changes to an exponent."""


def digest(value: Any) -> str:
    """SHA-256 over the canonical text, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def canonical(value: Any) -> bytes:
    """The one text of a JSON value, in UTF-8.

    Raises:
        ValueError: It has no JSON text: NaN, half a surrogate pair, a key that is no text.
    """
    try:
        return _text(value).encode()
    except RecursionError:
        raise ValueError("it is nested without end") from None


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{_text(k)}:{_text(value[k])}' for k in sorted(value, key=_units))}}}"
    raise ValueError(f"a {type(value).__name__} has no JSON text")


def _units(key: Any) -> bytes:
    """Names are sorted by their UTF-16 code units."""
    if not isinstance(key, str):
        raise ValueError("a name in JSON is a text")  # noqa: TRY004  # as for all that has no text
    return key.encode("utf-16-be")


def _number(value: float) -> str:
    """As ECMAScript writes a double: the shortest digits that read back as the same one."""
    if isinstance(value, int) and abs(value) <= _EXACT:
        return str(value)
    try:
        double = float(value)
    except OverflowError:
        double = math.inf
    if not math.isfinite(double):
        raise ValueError("a number without end, or beyond a double, has no JSON text")
    if double == 0:
        return "0"
    sign, digit_tuple, exponent = Decimal(repr(double)).normalize().as_tuple()
    digits = "".join(map(str, digit_tuple))
    return "-" * sign + _placed(digits, len(digits) + int(exponent))


def _placed(digits: str, point: int) -> str:
    """The digits with their decimal point, which stands `point` digits from the left."""
    if len(digits) <= point <= _PLAIN_DIGITS:
        return digits.ljust(point, "0")
    if 0 < point <= _PLAIN_DIGITS:
        return f"{digits[:point]}.{digits[point:]}"
    if _PLAIN_ZEROS < point <= 0:
        return f"0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{point - 1:+d}"
