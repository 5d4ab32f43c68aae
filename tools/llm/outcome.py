"""What became of one question at an endpoint."""

from typing import NamedTuple

from tools.llm.prompt import Completion
from tools.tool import ToolError


class Answered(NamedTuple):
    completion: Completion
    counted: bool
    """Whether the endpoint has said what it used."""


class Failure(NamedTuple):
    error: ToolError
    billed: bool
    """It may have been billed: the whole reservation is booked."""
