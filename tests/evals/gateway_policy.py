"""A policy for the public scoring script that asks Sluice's own gateway, gate by gate.

    .venv/bin/python ../shared/scripts/score_gateway.py ../shared/data tests/evals/gateway_policy.py

Nothing is decided here. Each logged run is a run in a real PostgreSQL, each call goes through
`Gateway.call` as a call that a model proposed: ruling, contract, budgets, labels against the tools'
sinks, approvals, gate, intent; what it gave is parsed, settled and looked at for repetition. Asked
for, a person counts as `review`; a refusal as `deny`, and after one that ends a run all its later
calls are. The policy is generic: labels decide what goes to a person (no approval for a write as
such), and everything else stands as it does without a policy. It knows no label of the data, no
task and no injection, and looks at no text for patterns. Which arguments are sinks and which leaves
a target vouches for says dojo.py, for all suites alike.

What a log cannot tell is where the agent had a value from, and a label needs just that. So a value
is *attributed*, and no more than this: the user's, when the prompt contains exactly it (see
`spoken`); vouched for, when it equals one that an earlier result's contract trusts; else a model's.
In production that would be a substring heuristic, which the design forbids: there a pipeline binds
by reference, as in dojo_pipelines.py. A value that both the user and an injection say counts as the
user's here.

SLUICE_DOJO_SINKS: `whom`, `writes`, `urls` (as without it) or `reads`: what is a sink, from the
least to the most; see dojo.py.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).parents[2]))  # the script starts elsewhere

from pydantic import BaseModel  # after the path

from models.guard import Guard
from models.run import StopReason
from tests.evals.dojo import SOURCES, VOUCHED, Row, Sinks, spoken, tools_of
from tests.evals.gateway_bridge import Bridge
from tools.tool import Tool
from worker.flow import Flow
from worker.labels.binding import among, made, ref
from worker.outcome import Ask, Stop
from worker.pipeline import Pipeline, pipeline

POLICY = "tools: {approvals: {'*': never}}"
_ENDS = 3
"""So many calls in a row that fit no contract end a run, as in `flow.act`."""


class Task(BaseModel, extra="forbid"):
    prompt: str


@cache
def bridge() -> Bridge:
    return Bridge(POLICY)


@cache
def suite_of(suite: str) -> Pipeline[Any, Any]:
    """A suite's tools, as a pipeline whose input the user wrote."""
    sinks = cast("Sinks", os.environ.get("SLUICE_DOJO_SINKS", "urls"))
    tools = tools_of(suite, bridge().outside, sinks=sinks)

    @pipeline(f"log-{suite}", version=1, tools=tools.values(), trusts=["/prompt"])
    async def replay(flow: Flow, task: Task) -> Task:
        return task

    return replay


class Replay:
    """One logged run."""

    def __init__(self, run: Row) -> None:
        self._suite, self._prompt = run["suite"], run["prompt"]
        pipeline_of = suite_of(self._suite)
        self._tools: Mapping[str, Tool[Any, Any]] = pipeline_of.tools
        self._held = bridge().wait(bridge().hold(pipeline_of, Task(prompt=self._prompt)))
        self._under_way: asyncio.Task[Any] | None = None
        self._over = False
        self._mistakes = 0
        self._calls = 0

    def decide(self, call: Row) -> str:
        tool = self._tools.get(call["tool"])
        if self._over or tool is None:  # what it was not offered ends a run
            self._over = True
            return "deny"
        self._calls += 1
        step = f"work/{self._calls}/{tool.name}"
        given = {
            name: self._bound(tool, name, each, step) for name, each in (call["args"] or {}).items()
        }
        found = bridge().wait(
            bridge().propose(self._held, tool, given, step=step, allowed=self._tools)
        )
        if isinstance(found, Ask):
            return "review"
        if isinstance(found, Stop):
            return self._denied(found)
        self._under_way, self._mistakes = found, 0
        return "allow"

    def seen(self, call: Row) -> None:
        assert self._under_way is not None
        stop = bridge().wait(bridge().settle(self._held, self._under_way, call.get("out") or ""))
        self._over = stop is not None

    def _denied(self, stop: Stop) -> str:
        """A model is told of a call that fits no contract; anything else ends the run."""
        self._mistakes += 1
        told = stop.reason is StopReason.TOOL_DENIED and stop.guard is Guard.CONTRACT
        self._over = not told or self._mistakes >= _ENDS
        return "deny"

    def _bound(self, tool: Tool[Any, Any], name: str, value: Any, step: str) -> Any:
        """A value, by reference to where it is attributed to."""
        if isinstance(value, list):
            return [
                self._bound(tool, name, each, f"{step}/{number}")
                for number, each in enumerate(value)
            ]
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            if spoken(value, self._prompt):
                return made(lambda _: value, ref("input:/prompt"))
            source = SOURCES.get((self._suite, name))
            readers = [each for each, vouched in VOUCHED.items() if source in vouched]
            if source is not None:
                known = among(*(f"work/*/{each}:/vouched/{source}/*" for each in readers))
                return known.of(value, f"{step}:/{name}")
        return value


def new(run: Row) -> Replay:
    return Replay(run)
