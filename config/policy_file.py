"""The policy's file: read whole or refused, with the line of what is wrong."""

import hashlib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, get_args

import yaml
from pydantic import BaseModel, ValidationError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from config.policy import Policy

LARGEST_BYTES = 256 * 1024
_SHOWN = 5


class PolicyError(ValueError):
    """The policy cannot be used; the sentence says what is wrong, and where."""


class PolicyFile(NamedTuple):
    """A policy, and where it stands."""

    policy: Policy
    revision: str
    """The first half of the SHA-256 of the file's bytes."""
    path: Path
    lines: dict[str, int]
    """Dotted places of the file, each with its line."""

    def place(self, at: str) -> str:
        """A place for people: `FILE, line 12`, or that nothing is said there."""
        line = self.lines.get(at)
        return f"{self.path}, line {line}" if line else f"not in {self.path}: the default"


def read(path: Path) -> PolicyFile:
    """Read a policy.

    Raises:
        PolicyError: It is not there, too large, no YAML, or says what no policy says.
    """
    try:
        raw = path.read_bytes()
        if len(raw) > LARGEST_BYTES:
            raise PolicyError(f"the policy {path} is larger than {LARGEST_BYTES} bytes")
        node = yaml.compose(raw.decode("utf-8"), Loader=yaml.SafeLoader)
        reader = _Reader(path)
        said = {} if node is None else reader.value(node)
    except OSError as error:
        raise PolicyError(f"the policy {path} cannot be read: {error.strerror}") from None
    except RecursionError:
        raise PolicyError(f"the policy {path} is nested without end") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        raise PolicyError(f"the policy {path} is no YAML: {told}") from None
    lines = reader.lines
    prefix = ""
    try:
        policy = Policy.model_validate(said)
        for kind, overlays in (("tenants", policy.tenants), ("pipelines", policy.pipelines)):
            for name, overlay in overlays.items():
                prefix = f"{kind}.{name}."
                policy.under(overlay)
    except ValidationError as error:
        raise PolicyError(_faults(error, path, lines, prefix)) from None
    return PolicyFile(policy, hashlib.sha256(raw).hexdigest()[:16], path, lines)


class _Reader:
    """Makes plain values of nodes. No aliases (a small file could grow without end), no tags of
    other languages, no key twice."""

    def __init__(self, path: Path) -> None:
        self.lines: dict[str, int] = {}
        self._path = path
        self._met: set[int] = set()

    def value(self, node: Node, at: str = "") -> Any:
        if id(node) in self._met:
            raise self._wrong(node, "an alias; write it out")
        if not node.tag.startswith("tag:yaml.org,2002:") or "/" in node.tag:
            raise self._wrong(node, f"the tag {node.tag}")
        self._met.add(id(node))
        self.lines.setdefault(at, node.start_mark.line + 1)
        if isinstance(node, MappingNode):
            return dict(self._entry(key, value, at) for key, value in node.value)
        if isinstance(node, SequenceNode):
            return [self.value(each, f"{at}[{n}]") for n, each in enumerate(node.value)]
        try:
            return yaml.SafeLoader("").construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            raise self._wrong(node, " ".join(str(error).split())) from None

    def _entry(self, key: Node, value: Node, at: str) -> tuple[str, Any]:
        if not isinstance(key, ScalarNode):
            raise self._wrong(key, "a key that is no text")
        place = f"{at}.{key.value}" if at else key.value
        if place in self.lines:
            raise self._wrong(key, f"{place} a second time")
        self.lines[place] = key.start_mark.line + 1
        return key.value, self.value(value, place)

    def _wrong(self, node: Node, what: str) -> PolicyError:
        return PolicyError(
            f"the policy {self._path}, line {node.start_mark.line + 1}: there is {what}"
        )


def _faults(error: ValidationError, path: Path, lines: dict[str, int], prefix: str) -> str:
    told = []
    for fault in error.errors(include_input=False, include_url=False)[:_SHOWN]:
        at = prefix
        for each in fault["loc"]:
            at += (
                f"[{each}]"
                if isinstance(each, int)
                else f"{'.' if at[-1:].strip('.') else ''}{each}"
            )
        line = lines.get(at)
        why = _unknown(fault["loc"]) if fault["type"] == "extra_forbidden" else fault["msg"]
        told.append(f"{at or 'the file'}{f' (line {line})' if line else ''}: {why}")
    words = f"the policy {path} is wrong: {'; '.join(told)}"
    return "".join(c if c.isprintable() else "?" for c in words)


def _unknown(loc: tuple[int | str, ...]) -> str:
    part: Any = Policy
    for each in loc[:-1]:
        part = part.model_fields[each].annotation if _is_part(part) else get_args(part)[-1]
    known = sorted(part.model_fields)
    close = get_close_matches(str(loc[-1]), known, n=1)
    return f"there is no such key; {close[0]}?" if close else (
        f"there is no such key; known are {', '.join(known)}"
    )  # fmt: skip


def _is_part(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
