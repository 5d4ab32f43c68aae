"""An order: what a pipeline wants done, checked and ready to leave."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from tools.tool import Tool
from worker.record import Record


@dataclass(slots=True)
class Order:
    """What is to be done: one step, one tool, one set of arguments."""

    step: str
    number: int
    tool: Tool[Any, Any]
    args: BaseModel
    passed: bytes
    """The arguments as the pipeline gave them, before defaults."""
    digest: bytes
    record: Record | None
