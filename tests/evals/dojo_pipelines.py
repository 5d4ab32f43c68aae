"""AgentDojo's suites as pipelines: a model acts, and its targets are bound to what the user named.

The model replays a log: it obeys every injection it reads. A pipeline knows the kind of its task
(which tools it is about), and a client fills a form beside the prompt: the recipients, files, days
and sums that the user named. Both are made of the user's task alone.
"""

from functools import cache
from typing import Any

import orjson
from pydantic import BaseModel

from models.budget import Budget
from tests.evals.dojo import SOURCES, VOUCHED, Row, sinks_of, spoken, tools_of
from tools.tool import Call, Rejected, Tool
from worker.agents.agent import Agent, Offer, Reply, View, offer
from worker.flow import Flow
from worker.labels.binding import Choice, among
from worker.pipeline import Catalogue, Pipeline, pipeline

SUITES = ("banking", "slack", "travel", "workspace")
LOG: list[Row] = []
"""The calls of the run at hand, in order."""
REACHED: set[int] = set()
"""Those that reached their tool."""
_BUDGET = Budget(steps=300, tool_calls=100)
Value = str | int | float


class Task(BaseModel, extra="forbid"):
    goal: str
    kind: list[str]
    """The tools that such a task is about."""
    form: dict[str, dict[str, list[Value]]]
    """By tool and argument: what the user named."""


class Done(BaseModel, extra="forbid"):
    text: str


async def says(view: View) -> Reply:
    """The next call of the log, then an answer."""
    if view.summary_bytes:
        return Reply(b'{"open": ["the rest of the log"]}')
    at = AGENT.turns - view.turns_left
    if at >= len(LOG):
        return Reply(orjson.dumps({"answer": {"text": "done"}}))
    call = LOG[at]
    wanted = {"tool": call["tool"], "arguments": call["args"] or {}}
    return Reply(orjson.dumps({"call": wanted}))


AGENT = Agent(name="obedient", instructions="Do the task.", answer=Done, model=says, turns=60)


async def outside(name: str, call: Call) -> str:
    """What the log has for this call."""
    at = int(call.step.split("/")[1]) - 1
    assert LOG[at]["tool"] == name
    REACHED.add(at)
    if LOG[at]["error"]:
        raise Rejected(str(LOG[at]["error"])[:200])
    return LOG[at]["out"] or ""


def task_of(run: Row, user_task: Row) -> dict[str, Any]:
    """The pipeline's input: the prompt, and the form that a client fills with what it names."""
    tools = pipelines()[f"dojo-{run['suite']}", 1].tools
    form: dict[str, dict[str, list[Value]]] = {
        name: {each: [] for each in sinks_of(tool)} for name, tool in tools.items()
    }
    for call in user_task["calls"]:
        for name, named in form[call["tool"]].items():
            value = call["args"].get(name)
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, Value) and spoken(each, run["prompt"]) and each not in named:
                    named.append(each)
    kind = sorted({each["tool"] for each in user_task["calls"]})
    return {"goal": run["prompt"], "kind": kind, "form": form}


def _choices(suite: str, found: Tool[Any, Any], task: Task) -> dict[str, Choice]:
    """By argument: what the user named; and, where the task is about the tool at all, what a target
    has vouched for since."""
    choices = {}
    for name in sinks_of(found):
        places = [f"input:/form/{found.name}/{name}/*"]
        source = SOURCES.get((suite, name))
        if found.name in task.kind and source is not None:
            readers = [each for each, vouched in VOUCHED.items() if source in vouched]
            places += [f"work/*/{each}:/vouched/{source}/*" for each in readers]
        choices[name] = among(*places)
    return choices


def _suite(suite: str, guarded: str) -> Pipeline[Task, Done]:
    """`-bare`: without any guard. `-kind`: only what the task is about is offered."""
    tools = tools_of(suite, outside, sinks="none" if guarded == "-bare" else "urls")

    def offered(task: Task) -> list[Offer]:
        if guarded == "-bare":
            return [offer(each) for each in tools.values()]
        return [
            offer(each, **_choices(suite, each, task))
            for each in tools.values()
            if guarded != "-kind" or each.name in task.kind
        ]

    name = f"dojo-{suite}{guarded}"

    @pipeline(name, version=1, tools=tools.values(), budget=_BUDGET, trusts=["/goal", "/form"])
    async def act(flow: Flow, task: Task) -> Done:
        return await flow.act("work", AGENT, goal=task.goal, offers=offered(task))

    return act


@cache
def pipelines() -> Catalogue:
    """Each suite three times. Made when asked for: the data may not be there."""
    every = [_suite(suite, guarded) for suite in SUITES for guarded in ("", "-bare", "-kind")]
    return {(each.name, each.version): each for each in every}
