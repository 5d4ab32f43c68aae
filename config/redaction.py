"""Redaction: what may hold a secret is hidden before it is written to a log or shown to people."""

import re
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

HIDDEN = "***"
ALWAYS = frozenset({"authorization", "cookie", "token", "api_key", "password", "secret"})
"""Hidden wherever a name contains one of these; the policy's `logging.redact` adds to them."""
_DEEPEST = 8
_SECRETS = re.compile(
    r"""
      (?P<scheme>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}  # an Authorization header's value
    | (?P<ours>\bslk_[0-9a-f]{16}_)[A-Za-z0-9_-]{43}           # an API key of ours
    | (?P<url>://[^/\s:@]*:)[^/\s@]+(?=@)                      # a password in a URL
    | (?P<vendor>\bsk-)[A-Za-z0-9_-]{16,}                      # a model provider's key
    """,
    re.VERBOSE | re.IGNORECASE,
)


class Redactor:
    """Hides values by the name they stand under, and secrets by what they look like."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        words = sorted(re.escape(each.lower()) for each in {*ALWAYS, *names} if each.strip())
        self._names = re.compile("|".join(words))

    def __call__(self, value: Any, *, depth: int = 0) -> Any:
        """The same value, a copy where something had to be hidden."""
        if isinstance(value, str):
            return _SECRETS.sub(_hidden, value) if len(value) > len(HIDDEN) else value
        if depth > _DEEPEST:
            return HIDDEN if isinstance(value, Mapping | list | tuple) else value
        if isinstance(value, Mapping):
            return {
                key: HIDDEN if self._secret(key) and each else self(each, depth=depth + 1)
                for key, each in value.items()
            }
        if isinstance(value, list | tuple):
            return [self(each, depth=depth + 1) for each in value]
        return value

    def processor(
        self, _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> Mapping[str, Any]:
        """As structlog's processors are: every line passes here before it is rendered."""
        redacted: Mapping[str, Any] = self(event)
        return redacted

    def _secret(self, key: Any) -> bool:
        return isinstance(key, str) and self._names.search(key.lower()) is not None


def _hidden(match: re.Match[str]) -> str:
    return next(each for each in match.groups() if each is not None) + HIDDEN
