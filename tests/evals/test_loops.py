"""Loop detection on runs of agents that nobody on this project wrote: AgentDyn's logs.

What a rule saves is the part of the bill (characters in and out) after the step it stops at; its
price are the runs it stops that would have solved their task. The rule to beat stops at the same
call with the same arguments and output the third time. The data stay where they lie: beside the
project, or in the folder SLUICE_PUBLIC_DATA names.
"""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from config.policy import LoopDetection
from tests.conftest import lacking
from worker.outcome import Stop
from worker.repetition import Repetition

DATA = Path(os.environ.get("SLUICE_PUBLIC_DATA", Path(__file__).parents[3] / "shared" / "data"))
Run = dict[str, Any]


def rows_of(name: str) -> list[Run]:
    path = DATA / name
    if not path.exists():
        lacking("public-data", f"there is no {name} beside the project or in SLUICE_PUBLIC_DATA")
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return rows_of("agentdyn_sequences.jsonl")


@pytest.fixture(scope="module")
def writers() -> set[str]:
    """Tools that change something, by the label that comes with the data."""
    labelled = rows_of("agentdojo_tools.jsonl")
    return {each["tool"] for each in labelled if each["permission_by_llm"] == "Write"}


@dataclass(frozen=True)
class Score:
    """What a rule would have done; a row of weight w stands for w runs."""

    runs: int
    stopped: int
    useful: int
    saved: float

    def __str__(self) -> str:
        return (
            f"stopped {self.stopped} of {self.runs} runs ({self.stopped / self.runs:.1%}),"
            f" {self.useful} of them useful, saved {self.saved:.2%} of the bill"
        )


def score(runs: Iterable[Run], stops_at: Callable[[Run], int | None]) -> Score:
    """As shared/scripts/loopstat.py counts; `stops_at` gives a step."""
    count = stopped = useful = saved = billed = 0
    for run in runs:
        weight = run.get("weight", 1)
        bill = [given + made for given, made in run["steps"]]
        count, billed = count + weight, billed + weight * sum(bill)
        step = stops_at(run)
        if step is not None:
            stopped += weight
            useful += weight * run["utility"]
            saved += weight * sum(bill[step + 1 :])
    return Score(count, stopped, useful, saved / billed)


def third_time(run: Run) -> int | None:
    seen: Counter[tuple[str, str]] = Counter()
    for step, _tool, args, _ok, out in run["calls"]:
        seen[args, out] += 1
        if seen[args, out] == 3:
            return int(step)
    return None


def ours(
    writers: set[str], rules: LoopDetection, runner: asyncio.Runner
) -> Callable[[Run], int | None]:
    """Our own class; what a model asked for in one step began side by side."""

    async def go(run: Run) -> int | None:
        it = Repetition(rules)
        steps: dict[int, list[Any]] = {}
        for call in run["calls"]:
            steps.setdefault(call[0], []).append(call)

        async def one(call: list[Any]) -> None:
            _, tool, args, ok, out = call
            asked, got = f"{tool} {args}".encode(), str(out).encode()
            it.saw(tool, asked, got, writes=tool in writers, failed=not ok)

        for step, calls in sorted(steps.items()):
            try:
                fork = it.fork([one(each) for each in calls])
                await asyncio.gather(*fork.tasks)
                fork.join()
            except Stop:
                return step
        return None

    return lambda run: runner.run(go(run))


def test_more_of_the_bill_is_saved_and_fewer_useful_runs_are_stopped_than_by_the_simple_rule(
    runs, writers
):
    undefended = [each for each in runs if each["defense"] == "none"]

    with asyncio.Runner() as runner:
        go = ours(writers, LoopDetection(), runner)
        simple, plain = score(runs, third_time), score(undefended, third_time)
        found, bare = score(runs, go), score(undefended, go)

    print(f"\nundefended: {bare}\n  simple:   {plain}\nall:        {found}\n  simple:   {simple}")  # noqa: T201  # the figures are what one runs this for
    assert bare.saved >= plain.saved
    assert bare.useful < plain.useful
    # The other runs are behind a defence; one repeats the task after every answer of a tool.
    assert found.saved >= 0.75 * simple.saved
    assert found.useful <= simple.useful / 2
