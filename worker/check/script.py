"""A script: the functions that a replay of a pipeline goes through again, as syntax trees.

These are its body and whatever functions of its own package are named in it, wherever that leads.
Tools, decisions and models are not among them: what those do is recorded, and not done again.
"""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import FunctionType
from typing import Any, get_type_hints

from pydantic import BaseModel

from worker.check.finding import at
from worker.flow import Flow

Function = ast.FunctionDef | ast.AsyncFunctionDef
LOOPS = (ast.For, ast.AsyncFor, ast.While, ast.ListComp, ast.SetComp, ast.DictComp,
         ast.GeneratorExp)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Part:
    """One function of a script."""

    function: FunctionType
    node: Function
    parents: dict[ast.AST, ast.AST]
    flows: frozenset[str]
    """The parameters that are the flow."""
    documents: frozenset[str]
    """The parameters that are Pydantic models, such as the input."""

    def place(self, node: ast.AST) -> str:
        return at(self.function.__code__.co_filename, getattr(node, "lineno", self.node.lineno))

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """What a node stands in, up to its function."""
        while node is not self.node and node in self.parents:
            node = self.parents[node]
            yield node

    def said(self, node: ast.expr) -> Any:
        """The object that a plain name or dotted name means when it is imported; else None."""
        parts = dotted(node).split(".")
        found = self.function.__globals__.get(parts[0])
        for each in parts[1:]:
            found = inspect.getattr_static(found, each, None) if found is not None else None
        return found

    def full_name(self, node: ast.expr) -> str:
        """`datetime.datetime.now`, whatever it was imported as; "" for what is not imported."""
        name, _, rest = dotted(node).partition(".")
        code = self.function.__code__
        if name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
            return ""
        known = _imports(code.co_filename).get(name, "")
        return f"{known}.{rest}" if known and rest else known

    def verbs(self, *names: str) -> Iterator[ast.Call]:
        """Uses of the flow's verbs, in the order of the text."""
        for each in ast.walk(self.node):
            if (
                isinstance(each, ast.Call)
                and isinstance(each.func, ast.Attribute)
                and each.func.attr in names
                and isinstance(each.func.value, ast.Name)
                and each.func.value.id in self.flows
            ):
                yield each


def script(body: Any) -> list[Part]:
    """The parts of a pipeline's script, its body first; none where there is no source."""
    found: dict[FunctionType, Part] = {}
    todo = [inspect.unwrap(body)]
    while todo:
        function = todo.pop(0)
        if function in found or (part := _part(function)) is None:
            continue
        found[function] = part
        todo.extend(_named(part))
    return list(found.values())


def dotted(node: ast.AST) -> str:
    """`a.b.c`, or "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def names(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _named(part: Part) -> Iterator[FunctionType]:
    """The functions of the same package that a part names."""
    package = _package(part.function)
    for each in ast.walk(part.node):
        if isinstance(each, ast.Name | ast.Attribute) and dotted(each):
            found = part.said(each)
            found = getattr(found, "__func__", found)
            if isinstance(found, FunctionType) and _package(found) == package:
                yield found


def _package(function: FunctionType) -> str:
    """A module that stands alone is a package of its own."""
    return function.__module__.rpartition(".")[0] or function.__module__


def _part(function: Any) -> Part | None:
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    for each in ast.walk(_tree(code.co_filename) or ast.Module([], [])):
        if isinstance(each, Function) and code.co_firstlineno in {
            each.lineno, *(one.lineno for one in each.decorator_list)
        } and each.name == function.__name__:  # fmt: skip
            parents = {below: above for above in ast.walk(each)
                       for below in ast.iter_child_nodes(above)}  # fmt: skip
            return Part(function, each, parents, *_parameters(function))
    return None


def _parameters(function: FunctionType) -> tuple[frozenset[str], frozenset[str]]:
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError):
        hints = {}
    hints.pop("return", None)
    flows = {name for name, kind in hints.items() if kind is Flow} or {"flow"}
    models = {
        name
        for name, kind in hints.items()
        if isinstance(kind, type) and issubclass(kind, BaseModel)
    }
    return frozenset(flows), frozenset(models)


@lru_cache(maxsize=512)
def _tree(filename: str) -> ast.Module | None:
    try:
        return ast.parse(Path(filename).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return None


@lru_cache(maxsize=512)
def _imports(filename: str) -> dict[str, str]:
    """What each imported name means."""
    found: dict[str, str] = {}
    for each in ast.walk(_tree(filename) or ast.Module([], [])):
        if isinstance(each, ast.Import):
            for one in each.names:
                top = one.name.partition(".")[0]
                found[one.asname or top] = one.name if one.asname else top
        elif isinstance(each, ast.ImportFrom) and each.module and not each.level:
            for one in each.names:
                found[one.asname or one.name] = f"{each.module}.{one.name}"
    return found
