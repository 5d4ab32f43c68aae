"""What people and clients get to see of documents and sentences: the one place that hides.

The ledger, inputs, results and proposals are kept whole, for runs go on with them. Errors were
redacted when they were written; what other hands wrote is redacted here once more.
"""

from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import orjson

from config.policy_file import PolicyError
from config.redaction import HIDDEN, Redactor
from config.rulebook import Rulebook
from config.settings import settings
from models.verdict import BadAnswer

T = TypeVar("T", str, str | None)
_USUAL = Redactor()


@cache
def rulebook_at(path: Path) -> Rulebook:
    """Read once for all of this process; whoever uses it looks whether it has changed."""
    return Rulebook(path)


def redactor() -> Redactor:
    """As the policy stands now."""
    try:
        rules = rulebook_at(settings().policy)
    except PolicyError:  # told by whoever needs the policy for more
        return _USUAL
    rules.look()
    return rules.file.policy.logging.redactor


def said(text: T) -> T:
    """A sentence, without secrets."""
    redacted: T = redactor()(text)
    return redacted


def shown(document: bytes | None, *, whole: bool = False) -> Any:
    """A document for people: nothing that is or names a secret is left in it."""
    value = orjson.loads(document or b"null")
    return value if whole else redactor()(value)


def drafted(document: bytes | None) -> Any:
    """A result for a team's own files: its prose is left alone."""
    return redactor().data(orjson.loads(document or b"null"))


def handed_out(document: bytes | None) -> Any:
    """A run's result for its client: byte for byte, but for what the policy hides in data."""
    if document is None:
        return None
    value = orjson.loads(document)
    seen = redactor().data(value)
    return orjson.Fragment(document) if seen == value else seen


def restored(answer: Any, whole: Any, seen: Any) -> Any:
    """An edited answer with what its editor could not see put back where it was left alone.

    Raises:
        BadAnswer: It is left in what was changed: the sign for it would go out in its place.
    """
    value = _put_back(answer, whole, seen)
    if HIDDEN in repr(value) and HIDDEN in repr(seen) and HIDDEN not in repr(whole):
        told = f"{HIDDEN} stands for what you cannot see: leave the whole text around it, or none"
        raise BadAnswer(told)
    return value


def _put_back(answer: Any, whole: Any, seen: Any) -> Any:
    if answer == seen:
        return whole
    if isinstance(answer, dict) and isinstance(whole, dict) and isinstance(seen, dict):
        return {
            key: _put_back(each, whole[key], seen[key]) if key in whole else each
            for key, each in answer.items()
        }
    lists = isinstance(answer, list) and isinstance(whole, list) and isinstance(seen, list)
    if lists and len(answer) == len(whole):
        return [_put_back(*each) for each in zip(answer, whole, seen, strict=True)]
    return answer
