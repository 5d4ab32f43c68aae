"""A secret: read where a reference says, by the worker that needs it, and never told to anybody."""

import os
from pathlib import Path

from pydantic import SecretStr

LARGEST_BYTES = 64 * 1024


class NoSecret(Exception):
    """It cannot be used; the sentence names the reference, and never the value."""


def read_secret(reference: str) -> SecretStr:
    """The secret behind `env:NAME` or `file:/path`, without the line's end. It may block a moment.

    Raises:
        NoSecret: It is not there, or nothing that can be sent as a login.
    """
    kind, _, place = reference.partition(":")
    if kind == "env":
        value, lacking = os.environ.get(place), "is not set in this worker's environment"
    elif kind == "file":
        value, lacking = _content(Path(place)), "is no file that this worker can read"
    else:
        raise NoSecret("a secret's reference is neither env:NAME nor file:/path")
    value = value and value.rstrip("\r\n")
    if not value:
        raise NoSecret(f"the secret {reference} {lacking}, or is empty")
    if not value.isprintable():
        raise NoSecret(f"the secret {reference} holds what no login may: it must be one line")
    return SecretStr(value)


def _content(path: Path) -> str | None:
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_BYTES:
            return None  # a pipe would be waited for
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
