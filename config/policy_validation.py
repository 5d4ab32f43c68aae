"""The policy's part on contracts: how strictly arguments and results are held to them."""

from typing import Literal

from pydantic import Field

from config.policy_part import Part


class InputValidation(Part):
    strict: bool = False
    """Arguments are not coerced: the text "5" is no number."""
    max_bytes: int = Field(default=1_048_576, ge=1)
    """Of a call's arguments as JSON."""


class OutputValidation(Part):
    max_bytes: int = Field(default=1_048_576, ge=1)
    """Of a call's result as JSON; a longer one fails its step."""
    fail_closed: Literal[True] = True
    """A result outside its contract fails its step. There is no other way, so False is refused."""


class Validation(Part):
    input: InputValidation = InputValidation()
    output: OutputValidation = OutputValidation()
