"""A veil: hides a secret in what a target says, whole or in parts, as it is or as it was sent."""

import base64
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import orjson

from config.redaction import HIDDEN

_PART = 6
"""So many letters or digits in a row that a secret has too are not shown."""
_SHORTEST_PART = 4
_SHORTEST_WHOLE = 8
"""A shorter secret may be any word of an answer, and is left in what is not for people."""


class Veil:
    """Hides what it was given, and what that looks like on its way."""

    def __init__(self, *secrets: str) -> None:
        forms = sorted({form for each in secrets for form in _forms(each) if form}, key=len)
        self._forms = [*reversed(forms)]
        self._parts: dict[int, set[str]] = {}
        for letters in map(_letters, forms):
            size = min(_PART, len(letters))
            if size >= _SHORTEST_PART:
                grams = {letters[n : n + size] for n in range(len(letters) - size + 1)}
                self._parts.setdefault(size, set()).update(grams)
        long = [each for each in self._forms if len(each) >= _SHORTEST_WHOLE]
        self._written = [orjson.dumps(each)[1:-1] for each in long]

    def over(self, text: str) -> str:
        """A text for people, without any part of a secret, however it is broken up or spelt."""
        for each in self._forms:
            text = text.replace(each, HIDDEN)
        if not self._parts:
            return text
        places = [n for n, each in enumerate(text) if each.isascii() and each.isalnum()]
        shown, end = [], 0
        for first, last in self._runs(_letters(text)):
            shown += [text[end : places[first]], HIDDEN]
            end = places[last - 1] + 1
        return "".join([*shown, text[end:]])

    def without(self, body: Any, raw: bytes) -> Any:
        """A parsed answer without whole secrets, in names and values; `raw`: as it came.

        Raises:
            ValueError: It cannot be told without them.
        """
        if not (b"\\" in raw or any(each in raw for each in self._written)):
            return body
        said = orjson.dumps(body)  # one way to write each letter
        for each in self._written:
            said = said.replace(each, HIDDEN.encode())
        return orjson.loads(said)

    def _runs(self, letters: str) -> Iterator[tuple[int, int]]:
        """From where to where parts of a secret stand, together where they overlap or touch."""
        hidden = bytearray(len(letters))
        for size, had in self._parts.items():
            for n in range(len(letters) - size + 1):
                if letters[n : n + size] in had:
                    hidden[n : n + size] = b"x" * size
        return (each.span() for each in re.finditer(rb"x+", hidden))


def _forms(secret: str) -> Iterator[str]:
    """A secret as it is, in a URL, in hexadecimal, and in base64 wherever it may begin there."""
    raw = secret.encode()
    yield secret
    yield quote(secret, safe="")
    yield raw.hex()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw).decode()
        whole = (len(raw) + before) // 3 * 4  # what follows may change the rest
        yield encoded[4 if before else 0 : whole]


def _letters(text: str) -> str:
    return "".join(each.lower() for each in text if each.isascii() and each.isalnum())
