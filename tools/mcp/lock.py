"""A lock: what a server offered when a person read it, in a file that is reviewed like code."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError, model_validator

from config.redaction import Redactor
from tools.mcp.pin import Definition, LockError, Pin, Word, pin
from tools.misfit import faults

SERVER_NAME = r"[a-z][a-z0-9-]{0,62}"
"""Without a dot, so that `server.tool` can be read in one way only."""
SUFFIX = ".lock.json"
LARGEST_BYTES = 4 * 1024 * 1024
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_HEADER = r"[A-Za-z0-9-]+"
_NO_SECRETS = "; a lock holds the names of environment variables, never what is in them"


class Lock(BaseModel, frozen=True, extra="forbid"):
    """How a server is reached, whether it is trusted, and its tools as they were pinned."""

    lock: Literal[1] = 1
    server: Annotated[str, Field(pattern=f"^{SERVER_NAME}$")]
    command: tuple[str, ...] = ()
    """A program and its arguments, spoken to over its standard input and output."""
    url: str | None = None
    """Or a streamable HTTP endpoint."""
    env: dict[Annotated[str, Field(pattern=f"^{_VARIABLE}$")], str] = {}
    """The program's environment: its variable, and the variable of ours that it is filled from."""
    headers: dict[Annotated[str, Field(pattern=f"^{_HEADER}$")], str] = {}
    """Headers of each request: name, and the variable of ours that it is filled from."""
    trusted: bool = False
    """What it says of its own tools is believed, also where that makes them out harmless."""
    tools: tuple[Pin, ...] = ()

    @model_validator(mode="after")
    def _is_reached_in_one_way(self) -> Self:
        if bool(self.command) == bool(self.url):
            raise ValueError("a server is reached by a command or by a URL, one of them")
        if self.url and urlsplit(self.url).scheme not in {"http", "https"}:
            raise ValueError("the URL of a server begins with http:// or https://")
        return self

    @model_validator(mode="after")
    def _holds_no_secrets(self) -> Self:
        named = (*self.env.values(), *self.headers.values())
        if bad := [each for each in named if not re.fullmatch(_VARIABLE, each)]:
            raise ValueError(f"{len(bad)} of env and headers name no variable{_NO_SECRETS}")
        parts = urlsplit(self.url or "")
        redacted = Redactor()
        if "@" in parts.netloc or any(redacted(each) != each for each in self.command):
            raise ValueError(f"its command or URL holds what looks like a password{_NO_SECRETS}")
        return self

    @model_validator(mode="after")
    def _is_ruled_as_its_words_say(self) -> Self:
        for each in self.tools:
            again = pin(self.server, each.definition, each.operator, trusted=self.trusted)
            if again.sha256 != each.sha256:
                raise ValueError(f"{each.tool}: its definition is not the one that was hashed")
            if again.ruled != each.ruled:
                raise ValueError(
                    f"{each.tool} is not as its definition and the operator's word rule it"
                    f" ({again.effect}: {again.why}); say what you mean in its `operator`, and"
                    f" run `sluice mcp import {self.server}`"
                )
        if len({each.tool for each in self.tools}) < len(self.tools):
            raise ValueError("two tools have one name")
        return self

    def renewed(
        self, definitions: Mapping[str, Definition], words: Mapping[str, Word] | None = None
    ) -> "Lock":
        """The same server with these tools; what the operator said of each stays, or is `words`."""
        said = {each.definition.name: each.operator for each in self.tools} | dict(words or {})
        pins = [
            pin(self.server, definitions[name], said.get(name, Word()), trusted=self.trusted)
            for name in sorted(definitions)
        ]
        return self.model_copy(update={"tools": tuple(pins)})


def read(path: Path) -> Lock:
    """Read a lock as runs are held to it.

    Raises:
        LockError: It is not there, or cannot be used.
    """
    with _sentences(path):
        lock = Lock.model_validate(_json(path))
    if path.name != lock.server + SUFFIX:
        raise LockError(f"{path} is the lock of {lock.server}: name it {lock.server}{SUFFIX}")
    return lock


def reread(path: Path) -> Lock:
    """Read a lock to renew it: an operator's words may have been edited, and are ruled anew.

    Raises:
        LockError: It is not there, or cannot be used.
    """
    with _sentences(path):
        found = _json(path)
        tools = found.pop("tools", [])
        definitions = [Definition.model_validate(each["definition"]) for each in tools]
        said = [Word.model_validate(each.get("operator", {})) for each in tools]
        words = {each.name: word for each, word in zip(definitions, said, strict=True)}
        return Lock.model_validate(found).renewed({each.name: each for each in definitions}, words)


def _json(path: Path) -> Any:
    raw = path.read_bytes()
    if len(raw) > LARGEST_BYTES:
        raise ValueError(f"it is larger than {LARGEST_BYTES} bytes")
    return json.loads(raw, object_pairs_hook=_once)


@contextmanager
def _sentences(path: Path) -> Iterator[None]:
    """Whatever is wrong with a file is told in one sentence."""
    try:
        yield
    except OSError as error:
        raise LockError(f"{path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise LockError(f"{path} cannot be used: {faults(error)}") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise LockError(f"{path} is no lock that can be used: {error}") from None


def write(lock: Lock, folder: Path) -> Path:
    """Write a lock, whole or not at all. What does not print is escaped, so that a reader sees it.

    Raises:
        OSError: It cannot be written.
    """
    found = lock.model_dump(mode="json", exclude_defaults=True)
    tools = found.pop("tools", [])
    whole = {"lock": lock.lock, **found, "trusted": lock.trusted, "tools": tools}
    text = json.dumps(whole, indent=2, ensure_ascii=False)
    shown = "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (lock.server + SUFFIX)
    fresh = path.with_suffix(".new")
    fresh.write_text(shown + "\n", encoding="utf-8")
    os.replace(fresh, path)  # noqa: PTH105  # atomic, and said so
    return path


def _escaped(character: str) -> str:
    """As JSON writes a character that nobody could see."""
    return json.dumps(character)[1:-1]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's fields. Of one that is there twice, people may read the other one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field is there twice in one object")
    return found
