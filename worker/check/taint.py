"""Taint: which names of a function hold what came from the input or from a step."""

import ast
from typing import Any

from tools.tool import Tool
from worker.check.script import Part, dotted, names
from worker.labels.binding import Binding, Choice

_BINDS = ("map", "among")
_GOES_OVER = {"enumerate", "zip", "sorted", "list", "tuple", "reversed"}
_COUNTS = {"range", "enumerate", "len"}
_VERBS = ("call", "decide", "ask", "act", "plan", "assess", "all", "each")


class Taint:
    """Of one function, by what is assigned in it."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self.tools: dict[str, Tool[Any, Any]] = {}
        """Names that hold a tool's result."""
        self.steps: dict[str, str] = {}
        """Names that hold a step's result, and the step."""
        self.assigned: dict[str, list[ast.expr]] = {}
        for node in ast.walk(part.node):
            for target, value in _assignments(node):
                for name in names(target):
                    self.assigned.setdefault(name, []).append(value)
                    self._learn(name, value)
        self._tainted = set(part.documents) | set(self.steps)
        grown = True
        while grown:
            more = {
                name for name, values in self.assigned.items()
                if name not in self._tainted and any(self._mentions(each) for each in values)
            }  # fmt: skip
            grown = bool(more)
            self._tainted |= more

    def of(self, value: ast.expr) -> str:
        """`directly` where it mentions input or step, `by way of` a name; "" where neither."""
        found = names(value)
        if found & (set(self._part.documents) | set(self.steps)):
            return "directly"
        return "by way of" if found & self._tainted else ""

    def _mentions(self, value: ast.expr) -> bool:
        if isinstance(value, ast.Call) and dotted(value.func) in _COUNTS:
            return False
        return bool(names(value) & self._tainted)

    def _learn(self, name: str, value: ast.expr) -> None:
        call = value.value if isinstance(value, ast.Await) else value
        if not any(call is each for each in self._part.verbs(*_VERBS)):
            return
        assert isinstance(call, ast.Call)  # noqa: S101  # for the type checker: verbs are calls
        step = call.args[0] if call.args else None
        self.steps[name] = str(step.value) if isinstance(step, ast.Constant) else "STEP"
        tool = self._part.said(call.args[1]) if len(call.args) > 1 else None
        if isinstance(tool, Tool):
            self.tools[name] = tool


def is_binding(part: Part, value: ast.expr) -> bool:
    """Whether an expression makes a binding, as far as its text tells."""
    if isinstance(value, ast.Call):
        if part.full_name(value.func).startswith("worker.labels.binding."):
            return True
        return isinstance(value.func, ast.Attribute) and value.func.attr in _BINDS
    return isinstance(part.said(value), Binding | Choice)


def is_plain(part: Part, value: ast.expr, taint: Taint) -> bool:
    """Whether an expression surely makes a plain value."""
    if isinstance(value, ast.Constant | ast.JoinedStr | ast.BinOp | ast.Compare):
        return True
    if isinstance(value, ast.Attribute):
        root: ast.expr = value
        while isinstance(root, ast.Attribute):
            root = root.value
        return is_plain(part, root, taint)
    if isinstance(value, ast.Subscript):
        return not isinstance(value.value, ast.Dict) and is_plain(part, value.value, taint)
    if isinstance(value, ast.Name):
        if value.id in part.documents or value.id in taint.steps:
            return True
        made = taint.assigned.get(value.id, [])
        return bool(made) and all(is_plain(part, each, taint) for each in made)
    if isinstance(value, ast.Call) and dotted(value.func) in _GOES_OVER:
        return any(is_plain(part, each, taint) for each in value.args)
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        return value.func.attr not in _BINDS and is_plain(part, value.func.value, taint)
    return isinstance(value, ast.Call) and dotted(value.func) in {"str", "int", "float", "repr"}


def _assignments(node: ast.AST) -> list[tuple[ast.expr, ast.expr]]:
    if isinstance(node, ast.Assign):
        return [(each, node.value) for each in node.targets]
    if isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
        return [(node.target, node.value)]
    if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
        return [(node.target, node.iter)]
    return []
