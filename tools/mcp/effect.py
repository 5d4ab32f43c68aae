"""What a tool of somebody else's server may leave behind: its hints raise it, a person says it.

    the hints say                               of a trusted server
    readOnly                                    READ
    not readOnly, not destructive               WRITE_ONCE; WRITE where a person says that repeats
                                                are harmless
    destructive, or nothing of the kind         DESTRUCTIVE

A server that is not trusted is believed only where it makes itself out worse: the riskier of its
word and the operator's counts, and without the operator's word all its tools are DESTRUCTIVE.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tools.tool import Effect

_RISING = (Effect.READ, Effect.WRITE, Effect.WRITE_ONCE, Effect.DESTRUCTIVE)


class Ruled(NamedTuple):
    """An effect, and whose word it rests on."""

    effect: Effect
    why: str


def rule(hints: Mapping[str, Any], word: Effect | None, *, trusted: bool, harmless: bool) -> Ruled:
    """The effect of one tool. `harmless`: an operator confirms that repeats change nothing more."""
    if word is None and not trusted:
        return Ruled(Effect.DESTRUCTIVE, "nobody has said what it does")
    told = Ruled(word, "the operator's word") if word else _claimed(hints)
    raised = _worst_admitted(hints)
    if not trusted and _risk(raised.effect) > _risk(told.effect):
        told = raised
    if told.effect is Effect.WRITE_ONCE and harmless and word is None:
        return Ruled(Effect.WRITE, "its hints, and the operator: repeats are harmless")
    if told.effect is Effect.WRITE and not harmless:
        return Ruled(Effect.WRITE_ONCE, f"{told.why}; nobody confirms that repeats are harmless")
    return told


def open_world(hints: Mapping[str, Any], word: bool | None, *, trusted: bool) -> bool:  # noqa: FBT001  # what the operator said
    """Whether it speaks with the world beyond its server; unless somebody denies it, it does."""
    hint = hints.get("openWorldHint")
    if trusted:
        return (hint is not False) if word is None else word
    return hint is True or word is not False


def _claimed(hints: Mapping[str, Any]) -> Ruled:
    """What a trusted server says; what it does not say is as bad as the protocol has it."""
    if not hints:
        return Ruled(Effect.DESTRUCTIVE, "it has no hints")
    if hints.get("readOnlyHint") is True:
        return Ruled(Effect.READ, "its hint: read only")
    if hints.get("destructiveHint") is False:
        return Ruled(Effect.WRITE_ONCE, "its hint: not destructive")
    return Ruled(Effect.DESTRUCTIVE, "its hints do not deny that it destroys")


def _worst_admitted(hints: Mapping[str, Any]) -> Ruled:
    """What a server says against itself. What it does not say raises nothing."""
    if hints.get("destructiveHint") is True:
        return Ruled(Effect.DESTRUCTIVE, "its hint: destructive")
    if hints.get("readOnlyHint") is False and hints.get("idempotentHint") is False:
        return Ruled(Effect.WRITE_ONCE, "its hint: a repeat does it twice")
    if hints.get("readOnlyHint") is False:
        return Ruled(Effect.WRITE, "its hint: it writes")
    return Ruled(Effect.READ, "")


def _risk(effect: Effect) -> int:
    return _RISING.index(effect)
