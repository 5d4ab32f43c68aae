"""A prompt and what a model said to it: arguments and result of a tool like any other."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, JsonValue
from pydantic_core import to_json

from tools.tool import Contract

_AROUND_A_TURN = 64
_AROUND_ALL = 256
"""Tokens that an endpoint's own template may add."""


def most_tokens(instructions: str, turns: Sequence[str], answer: dict[str, Any]) -> int:
    """No tokenizer makes more tokens of it: each takes a byte of UTF-8 at least."""
    written = sum(len(each.encode(errors="replace")) for each in (instructions, *turns))
    return written + len(to_json(answer)) + _AROUND_ALL + _AROUND_A_TURN * len(turns)


class Turn(Contract):
    """One message after the instructions."""

    role: Literal["user", "assistant"]
    text: str


class Prompt(Contract):
    """`asks`, `given` and `round` say which question it is, and are what a replay must repeat.

    The rest is how the question is put. It is kept with the transcript, and left out of the ledger
    and of the step's identity, so that another wording breaks no run that is under way.
    """

    asks: str
    """The decision's or the agent's name."""
    given: JsonValue
    round: int = Field(ge=1)
    instructions: str = Field(exclude=True, repr=False)
    turns: tuple[Turn, ...] = Field(exclude=True, repr=False)
    answer: dict[str, Any] = Field(exclude=True, repr=False)
    """The JSON schema of what is to be answered."""

    def most_tokens(self) -> int:
        """What is reserved for it, and what a context is counted by."""
        return most_tokens(self.instructions, [each.text for each in self.turns], self.answer)


class Finish(StrEnum):
    """Why a model came to an end."""

    STOP = "stop"  # it has said what it had to say
    LENGTH = "length"  # it was cut at `max_tokens`
    REFUSED = "refused"  # it will not, or a filter did not let it


class Completion(Contract):
    """What a model said, unread. Nothing in it is trusted."""

    text: str
    finish: Finish
    model: str
    """As the endpoint calls what answered."""
    tokens_in: int
    tokens_out: int
