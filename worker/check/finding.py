"""A finding: what is wrong or missing, where, and what to do about it."""

import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from tools.tool import Tool
from worker.pipeline import Pipeline


class Severity(StrEnum):
    ERROR = "error"  # it will go wrong, or break a promise
    WARNING = "warning"  # it works, and somebody should have decided it


class Finding(NamedTuple):
    severity: Severity
    rule: str
    place: str
    """`file:line`, relative to the working folder where that is shorter."""
    about: str
    """The pipeline or tool."""
    told: str
    do: str
    """What to do, as a sentence."""


def error(rule: str, place: str, about: str, told: str, do: str) -> Finding:
    return Finding(Severity.ERROR, rule, place, about, told, do)


def warning(rule: str, place: str, about: str, told: str, do: str) -> Finding:
    return Finding(Severity.WARNING, rule, place, about, told, do)


def at(filename: str, line: int) -> str:
    """As people click on it."""
    path = Path(filename)
    here = Path.cwd()
    return f"{path.relative_to(here) if path.is_relative_to(here) else path}:{line}"


def of_function(function: Callable[..., Any]) -> str:
    """Where a function stands, its decorators included."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return at(code.co_filename, code.co_firstlineno) if code else "?"


def of_tool(tool: Tool[Any, Any]) -> str:
    return of_function(tool.run)


def of_pipeline(pipeline: Pipeline[Any, Any]) -> str:
    return of_function(pipeline.body)


def title(subject: Tool[Any, Any] | Pipeline[Any, Any]) -> str:
    return f"{subject.name} v{subject.version}" if isinstance(subject, Pipeline) else subject.name
