"""Redaction: what may hold a secret is hidden before it is written to a log or shown to people."""

import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any

HIDDEN = "***"
ALWAYS = frozenset({"authorization", "cookie", "token", "api_key", "password", "secret"})
"""Hidden wherever a name contains one of these; the policy's `logging.redact` adds to them."""
_DEEPEST = 32
_SHAPES = re.compile(
    r"""
      (?P<scheme>\b(?:bearer|basic(?=\s+[\w.~+/-]*(?:[0-9=]|[._~+/]\w)))\s+)[\w.~+/=-]{8,}
    | (?P<ours>\bslk_[0-9a-f]{16}_)[A-Za-z0-9_-]{43}           # an API key of ours
    | (?P<url>://[^/\s:@]*:)[^/\s@]+(?=@)                      # a password in a URL
    | (?P<vendor>\bsk-)[A-Za-z0-9_-]{16,}                      # a model provider's key
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""The first is an Authorization header's value; "basic training" is none."""
_PAIR = r"""
    (?P<named>(?!tokens\b)(?:{names})[\w-]{{0,40}}\\{{0,9}}["']?\s{{0,9}}[:=]\s{{0,9}})
    (?: (?P<quote>\\{{0,9}}["']) (?:(?!(?P=quote)).)*
      | (?:(?:bearer|basic|token)\s+)? [^\s"'&,;()\[\]{{}}<>]+ (?:;\s*[\w.-]+=[^\s;"']+)* )
"""
"""A name and its value in a text: `api_key=...`, `"token": "..."`, `Cookie: a=1; b=2`. Bounded, for
texts come from strangers."""


class Redactor:
    """Hides values by the name they stand under, and secrets by what they look like.

    Calling it hides all of that, as logs, errors and pages need it. `data` leaves prose alone:
    what reads like `password: reset it` is no secret in the draft of an answer.
    """

    def __init__(self, names: Iterable[str] = (), patterns: Iterable[str] = ()) -> None:
        words = sorted(_loosely(each) for each in {*ALWAYS, *names} if each.strip())
        self._names = re.compile("|".join(words), re.IGNORECASE)
        self._pairs = re.compile(
            _PAIR.format(names="|".join(words)), re.VERBOSE | re.IGNORECASE | re.DOTALL
        )
        self._patterns = tuple(re.compile(each) for each in patterns)

    def __call__(self, value: Any) -> Any:
        """The same value, a copy where something had to be hidden."""
        return self._hide(value, self._text, depth=0)

    def data(self, value: Any) -> Any:
        """The same, without looking for names within texts."""
        return self._hide(value, self._shapes, depth=0)

    def processor(
        self, _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> Mapping[str, Any]:
        """As structlog's processors are: every line passes here before it is rendered."""
        redacted: Mapping[str, Any] = self(event)
        return redacted

    def _hide(self, value: Any, text: Callable[[str], str], *, depth: int) -> Any:
        if isinstance(value, str):
            return text(value) if len(value) > len(HIDDEN) else value
        if depth > _DEEPEST:
            return HIDDEN if isinstance(value, Mapping | list | tuple) else value
        if isinstance(value, Mapping):
            return {
                key: HIDDEN if self._secret(key, each) else self._hide(each, text, depth=depth + 1)
                for key, each in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._hide(each, text, depth=depth + 1) for each in value]
        return value

    def _secret(self, key: Any, value: Any) -> bool:
        if not value or value is True or not isinstance(key, str):
            return False
        if self._names.search(key) is None:
            return False
        return not ("tokens" in key.lower() and isinstance(value, int | float))  # a count

    def _shapes(self, text: str) -> str:
        text = _SHAPES.sub(_hidden, text)
        for pattern in self._patterns:
            text = pattern.sub(HIDDEN, text)
        return text

    def _text(self, text: str) -> str:
        return self._pairs.sub(_named, self._shapes(text))


def _loosely(name: str) -> str:
    """`api_key` is `API-Key` and `apikey` as well."""
    return "[_\\-]?".join(map(re.escape, re.split("[_-]", name.strip().lower())))


def _hidden(match: re.Match[str]) -> str:
    return next(each for each in match.groups() if each is not None) + HIDDEN


def _named(match: re.Match[str]) -> str:
    return f"{match['named']}{match['quote'] or ''}{HIDDEN}"
