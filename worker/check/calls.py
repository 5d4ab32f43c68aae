"""Calls: what a script passes to tools, held against what they take and whom they trust."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any

from pydantic import BaseModel

from tools.tool import Effect, Tool
from tools.trust import Trust, closest
from worker.check.contracts import endless_texts
from worker.check.finding import Finding, error, of_pipeline, of_tool, title, warning
from worker.check.place import choices, is_place, names
from worker.check.script import Part, dotted
from worker.check.script import names as names_in
from worker.check.taint import Taint, is_plain
from worker.fallback import SHORT
from worker.labels.capacity import capacity
from worker.pipeline import Pipeline

_OFFER = "worker.agents.agent.offer"
_BINDING = "worker.labels.binding."


def called(pipeline: Pipeline[Any, Any], parts: Sequence[Part]) -> Iterator[Finding]:
    """What is wrong with the calls of a pipeline's script."""
    about = title(pipeline)
    results = dict(_results(parts))
    yield from _unproposed(pipeline, parts)
    for part in parts:
        taint = Taint(part)
        for verb in part.verbs("call", "propose"):
            tool = part.said(verb.args[1]) if len(verb.args) > 1 else None
            if isinstance(tool, Tool):
                yield from _call(pipeline, part, verb, tool, taint)
                yield from _destroys(part, verb, tool, about)
        for verb in part.verbs("decide"):
            yield from _shown(part, verb, about)
        for node in ast.walk(part.node):
            if isinstance(node, ast.Call) and part.full_name(node.func) == _BINDING + "fixed":
                yield from _fixed(part, node, taint, about)
            elif isinstance(node, ast.Call) and part.full_name(node.func) == _BINDING + "ref":
                yield from _ref(pipeline, part, node, results)
            elif isinstance(node, ast.Call) and part.full_name(node.func) == _OFFER:
                tool = part.said(node.args[0]) if node.args else None
                if isinstance(tool, Tool):
                    yield from _declared(pipeline, part, node, tool)
                    yield from endless_texts(tool.gives, of_tool(tool), about, tool.name)


def _call(
    pipeline: Pipeline[Any, Any], part: Part, verb: ast.Call, tool: Tool[Any, Any], taint: Taint
) -> Iterator[Finding]:
    place, about = part.place(verb), title(pipeline)
    yield from _declared(pipeline, part, verb, tool)
    known = {*tool.takes.model_fields, *names(tool.takes)}
    given = {each.arg: each.value for each in verb.keywords if each.arg}
    short = {"because"} if getattr(verb.func, "attr", "") == "propose" else SHORT
    given = {name: each for name, each in given.items() if name in known or name not in short}
    whole = all(each.arg for each in verb.keywords)
    for name in given.keys() - known:
        if tool.takes.model_config.get("extra") != "allow":
            yield error(
                "no-such-argument", place, about, f"{tool.name} takes no {name}",
                f"it takes {', '.join(names(tool.takes)) or 'nothing'}",
            )  # fmt: skip
    for name, each in tool.takes.model_fields.items():
        if whole and each.is_required() and not {name, each.alias} & given.keys():
            yield error(
                "missing-argument", place, about, f"{tool.name} needs {name}, which is not passed",
                f"pass {name}=..., or give it a default in {tool.takes.__name__}",
            )  # fmt: skip
    for name, value in given.items():
        needed = _needed(tool, name)
        if needed > Trust.UNTRUSTED and is_plain(part, value, taint):
            yield warning(
                "plain-value", part.place(value), about,
                f"{name} of {tool.name} needs to be {needed.name.lower()}, and gets a plain value:"
                " a person is asked each time",
                f"bind it by reference: {name}={_instead(part, value)}",
            )  # fmt: skip


def _destroys(part: Part, verb: ast.Call, tool: Tool[Any, Any], about: str) -> Iterator[Finding]:
    if tool.effect is Effect.DESTRUCTIVE and getattr(verb.func, "attr", "") == "call":
        yield error(
            "destructive", part.place(verb), about,
            f"it calls {tool.name}, which is destructive: the run would end as tool_denied",
            "put it to a person with flow.propose, or write a tool that marks instead",
        )  # fmt: skip


def _unproposed(pipeline: Pipeline[Any, Any], parts: Sequence[Part]) -> Iterator[Finding]:
    """Destructive tools that no line of the script puts to a person."""
    used = [
        part.said(each)
        for part in parts
        for node in ast.walk(part.node)
        if isinstance(node, ast.Call)
        for each in node.args[:2]
    ]
    for tool in pipeline.tools.values():
        if tool.effect is Effect.DESTRUCTIVE and not any(each is tool for each in used):
            yield warning(
                "destructive", of_pipeline(pipeline), title(pipeline),
                f"it declares {tool.name}, which is destructive: no run executes it by itself",
                "put it to a person with flow.propose, or write a tool that marks instead",
            )  # fmt: skip


def _declared(
    pipeline: Pipeline[Any, Any], part: Part, node: ast.AST, tool: Tool[Any, Any]
) -> Iterator[Finding]:
    if pipeline.tools.get(tool.name) is not tool:
        yield error(
            "undeclared", part.place(node), title(pipeline),
            f"it uses {tool.name} and does not declare it: the run would end as tool_denied",
            "add it to tools=[...] of @pipeline",
        )  # fmt: skip


def _needed(tool: Tool[Any, Any], name: str) -> Trust:
    """The least trust that a plain value of this argument lacks; UNTRUSTED: any will do."""
    pointer = f"/{name}"
    if tool.sinks is None or any(each.startswith(f"{pointer}/") for each in tool.sinks):
        return Trust.UNTRUSTED
    sink = closest(tool.sinks, pointer)
    needed = Trust.TRUSTED if sink is None else tool.sinks[sink]
    takes: type[BaseModel] = tool.takes
    if needed is Trust.ENDORSED and capacity(takes, pointer) < inf:
        return Trust.UNTRUSTED  # its type lets nobody say much
    return needed


def _fixed(part: Part, node: ast.Call, taint: Taint, about: str) -> Iterator[Finding]:
    value = node.args[0] if node.args else None
    if value is None or not (how := taint.of(value)):
        return
    made = error if how == "directly" else warning
    yield made(
        "fixed-input", part.place(node), about,
        f"fixed({ast.unparse(value)}) calls the pipeline's own what came from its input or a step",
        'use ref("input:/...") or ref("step:/..."): the gateway then knows where it comes from',
    )  # fmt: skip


def _ref(
    pipeline: Pipeline[Any, Any], part: Part, node: ast.Call, results: Mapping[str, Any]
) -> Iterator[Finding]:
    place = node.args[0] if node.args else None
    if not (isinstance(place, ast.Constant) and isinstance(place.value, str)):
        return
    step, _, pointer = place.value.rpartition(":")
    model = pipeline.takes if step == "input" else results.get(step)
    if model is not None and not is_place(model, pointer):
        yield error(
            "ref-to-nothing", part.place(node), title(pipeline),
            f"{place.value!r} is nowhere: {model.__name__} has {choices(model)}",
            "name a field that is there",
        )  # fmt: skip


def _results(parts: Sequence[Part]) -> Iterator[tuple[str, Any]]:
    """What each step with a literal name gives, where it is a tool's."""
    for part in parts:
        for verb in part.verbs("call"):
            step = verb.args[0] if verb.args else None
            tool = part.said(verb.args[1]) if len(verb.args) > 1 else None
            if isinstance(step, ast.Constant) and isinstance(tool, Tool):
                yield str(step.value), tool.gives


def _shown(part: Part, verb: ast.Call, about: str) -> Iterator[Finding]:
    """A tool's result that a decision with a model is asked about."""
    decision = part.said(verb.args[1]) if len(verb.args) > 1 else None
    if getattr(decision, "model", None) is None:
        return
    passed = set().union(*(names_in(each.value) for each in verb.keywords))
    for name, tool in Taint(part).tools.items():
        if name in passed:
            yield from endless_texts(tool.gives, of_tool(tool), about, tool.name)


def _instead(part: Part, value: ast.expr) -> str:
    """How a value is passed by reference, as far as its text tells."""
    if isinstance(value, ast.Constant):
        return f"fixed({value.value!r})"
    root, _, rest = dotted(value).partition(".")
    if not rest:
        return 'ref("STEP:/FIELD")'
    taint = Taint(part)
    pointer = rest.replace(".", "/")
    for each in taint.assigned.get(root, ()):
        above, _, many = dotted(each).partition(".")
        if above in part.documents and many:
            return f'ref(f"input:/{many.replace(".", "/")}/{{n}}/{pointer}"), n its number'
    step = "input" if root in part.documents else taint.steps.get(root, "STEP")
    return f'ref("{step}:/{pointer}")'
