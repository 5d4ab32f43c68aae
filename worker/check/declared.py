"""What tools and pipelines declare of themselves, before anything runs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from config.policy import Policy
from tools.tool import Effect, Tool, unknowable
from worker.check.contracts import open_fields
from worker.check.finding import Finding, error, of_pipeline, of_tool, title, warning
from worker.check.place import choices, is_place, names
from worker.pipeline import Pipeline
from worker.ruling import rule


def tools_own(tool: Tool[Any, Any]) -> Iterator[Finding]:
    """Of one tool, whoever uses it."""
    place = of_tool(tool)
    yield from open_fields(tool.takes, "argument", place, tool.name)
    yield from open_fields(tool.gives, "result", place, tool.name)
    for pointer in tool.sinks or ():
        if not is_place(tool.takes, pointer):
            yield error(
                "sink-of-nothing", place, tool.name,
                f"sinks names {pointer!r}, and {tool.takes.__name__} has {choices(tool.takes)}",
                _slash(tool.takes, pointer)
                or "name an argument: the real one now needs to be trusted, as if it were unsaid",
            )  # fmt: skip
    for pointer in tool.trusted:
        if not is_place(tool.gives, pointer):
            yield error(
                "trusted-nothing", place, tool.name,
                f"trusted names {pointer!r}, and {tool.gives.__name__} has {choices(tool.gives)}",
                _slash(tool.gives, pointer)
                or "name a field of the result, as a JSON pointer such as /id or /hits/*/id",
            )  # fmt: skip
    if tool.writes and tool.sinks is None and names(tool.takes):
        yield warning(
            "no-sinks", place, tool.name,
            "it writes and has no sinks: whatever a pipeline binds is taken, text from outside too",
            "say sinks={...} with the trust each argument needs: " + _example(tool),
        )  # fmt: skip
    if tool.effect is Effect.WRITE_ONCE and tool.lookup is unknowable:
        yield warning(
            "unknowable", place, tool.name,
            "nobody can ask its target what became of a write: a person decides every doubt",
            "write a lookup= if the target can be searched by our key or by the arguments",
        )  # fmt: skip


def pipelines_own(pipeline: Pipeline[Any, Any]) -> Iterator[Finding]:
    """Of one pipeline, beside what its script does."""
    place, about = of_pipeline(pipeline), title(pipeline)
    yield from open_fields(pipeline.takes, "input", place, about)
    yield from open_fields(pipeline.gives, "result", place, about)
    for pointer in pipeline.trusts:
        if not is_place(pipeline.takes, pointer):
            yield error(
                "trusts-nothing", place, about,
                f"trusts names {pointer!r}, and {pipeline.takes.__name__} has"
                f" {choices(pipeline.takes)}",
                _slash(pipeline.takes, pointer)
                or "name a field of the input, as a JSON pointer such as /id",
            )  # fmt: skip
    for tool in pipeline.tools.values():
        first = tool.undo.snapshot if tool.undo else None
        if first is not None and pipeline.tools.get(first.tool.name) is not first.tool:
            yield error(
                "undeclared", place, about,
                f"{tool.name} has {first.tool.name} take a snapshot first, which the pipeline does"
                " not declare: its calls would end as tool_denied",
                f"add {first.tool.name} to tools=[...] of @pipeline",
            )  # fmt: skip
        if tool.cost_usd > pipeline.budget.cost_usd:
            yield error(
                "unaffordable", place, about,
                f"one call of {tool.name} may cost {tool.cost_usd} USD, and the budget of a run is"
                f" {pipeline.budget.cost_usd} USD: it would never be called",
                f'say budget=Budget(cost_usd=Decimal("{tool.cost_usd}")) or more',
            )  # fmt: skip


def under_policy(pipeline: Pipeline[Any, Any], policy: Policy, revision: str) -> Iterator[Finding]:
    """What the policy in force makes of a pipeline's tools."""
    place, about = of_pipeline(pipeline), title(pipeline)
    for tool in pipeline.tools.values():
        ruling = rule(policy.of("", pipeline.name), tool, policy, revision)
        if ruling.denied:
            yield error(
                "denied", place, about, ruling.denied,
                f"let the policy allow it (`sluice policy explain --tool {tool.name}`), or do"
                " without it",
            )  # fmt: skip
        if ruling.timeout_s < tool.timeout_s:
            yield warning(
                "shorter-timeout", place, about,
                f"the policy gives {tool.name} {ruling.timeout_s:g} s, and the tool asks for"
                f" {tool.timeout_s:g} s",
                "raise tools.timeouts_s of the policy, or lower the tool's timeout_s",
            )  # fmt: skip


def two_of_one_name(tools: Sequence[Tool[Any, Any]]) -> Iterator[Finding]:
    """Policy, breakers and the ledger know a tool by its name."""
    first: dict[str, Tool[Any, Any]] = {}
    for tool in tools:
        other = first.setdefault(tool.name, tool)
        if _facts(other) != _facts(tool):
            yield error(
                "two-tools", of_tool(tool), tool.name,
                f"another tool has this name, with another contract or effect: {of_tool(other)}",
                "rename one: policy, breakers and the ledger know a tool by its name",
            )  # fmt: skip


def _slash(model: type[BaseModel], pointer: str) -> str:
    """What to do about a pointer that lacks nothing but its slash."""
    return f'say "/{pointer}": a pointer begins with a slash' * is_place(model, f"/{pointer}")


def _facts(tool: Tool[Any, Any]) -> Mapping[str, Any]:
    return {
        "effect": tool.effect, "sinks": tool.sinks, "takes": tool.takes.model_json_schema(),
        "gives": tool.gives.model_json_schema(),
    }  # fmt: skip


def _example(tool: Tool[Any, Any]) -> str:
    return ", ".join(f'"/{name}": Trust.TRUSTED' for name in names(tool.takes)[:2]) + ", ..."
