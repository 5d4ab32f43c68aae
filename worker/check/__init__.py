"""What can be said of pipelines and tools before they run.

Read in this order: finding, script, replay, names, taint, calls, place, contracts, declared.
"""

from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from config.policy import Policy
from tools.tool import Tool
from worker.check.calls import called
from worker.check.declared import pipelines_own, tools_own, two_of_one_name, under_policy
from worker.check.finding import Finding, Severity, error, of_pipeline, title, warning
from worker.check.names import named
from worker.check.replay import replayed
from worker.check.script import script
from worker.pipeline import Catalogue, Pipeline

__all__ = ["Finding", "Severity", "check", "error", "unlisted"]


def check(
    pipelines: Catalogue, tools: list[Tool[Any, Any]], policy: Policy, revision: str
) -> list[Finding]:
    """Everything that is wrong or missing, errors first, each once."""
    found: list[Finding] = list(two_of_one_name(tools))
    for tool in tools:
        found += tools_own(tool)
    for each in pipelines.values():
        found += pipelines_own(each)
        found += under_policy(each, policy, revision)
        found += _script(each)
    return sorted(dict.fromkeys(found), key=_order)


def _order(each: Finding) -> tuple[str, str, int, str]:
    file, _, line = each.place.rpartition(":")
    return each.severity, file, int(line) if line.isdecimal() else 0, each.rule


def unlisted(modules: Iterable[ModuleType], pipelines: Catalogue) -> Iterator[Finding]:
    """Pipelines that stand in a module and in no list; what else is wrong with them."""
    listed = {id(each) for each in pipelines.values()}
    for module in modules:
        for each in vars(module).values():
            if (
                isinstance(each, Pipeline)
                and id(each) not in listed
                and each.body.__module__ == module.__name__
            ):
                yield from pipelines_own(each)
                yield from _script(each)
                yield warning(
                    "unlisted", of_pipeline(each), title(each),
                    f"{module.__name__} defines it and does not list it: no worker runs it",
                    f"put it into PIPELINES of {module.__name__}",
                )  # fmt: skip


def _script(pipeline: Pipeline[Any, Any]) -> Iterator[Finding]:
    parts, about = script(pipeline.body), title(pipeline)
    for part in parts:
        yield from replayed(part, about)
    yield from named(parts, about)
    yield from called(pipeline, parts)
