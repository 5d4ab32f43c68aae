"""Seed 0's incident: the same input each day, a model that proposes another tool each day."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from config.settings import settings
from models.database import hot
from models.run import StopReason
from tests.conftest import CATALOGUE, document, reload
from tests.evals import same_path_pipelines
from tests.evals.same_path_pipelines import REACHED
from tests.model_server import ModelServer, endpoint, model_server, says
from tools import llm

CATALOGUE |= same_path_pipelines.PIPELINES
JOHN = {"text": "search for user john"}
DAYS: dict[int, tuple[str, dict[str, str]]] = {
    1: ("search_user", {"query": "john"}),
    3: ("find_user", {"query": "john"}),
    5: ("search", {"query": "john", "type": "user"}),
    7: ("database_query", {"sql": "SELECT * FROM users WHERE name LIKE '%john%'"}),
}
_PATH = """
    SELECT step, kind, coalesce(tool, '') AS tool, effect, args::text, encode(args_hash, 'hex')
      FROM ledger_entry WHERE run_id = $1 ORDER BY number, step
"""


@pytest.fixture
async def server(database, monkeypatch) -> AsyncIterator[ModelServer]:
    REACHED.clear()
    async with model_server() as it:
        models = {"default": endpoint(it.url)}
        monkeypatch.setenv("SLUICE_MODELS", orjson.dumps(models).decode())
        settings.cache_clear()
        yield it
        await llm.close()
    monkeypatch.undo()
    settings.cache_clear()


def proposes(day: int) -> Any:
    """The day's tool, in the form of an agent's turn."""
    tool, arguments = DAYS[day]
    return says({"call": {"tool": tool, "arguments": arguments}})


async def walked(pipeline: str, submit, attempt) -> tuple[Any, list[tuple[Any, ...]]]:
    """The run's row, and its path: each step with what it was, asked and hashed."""
    run = await submit(pipeline, JOHN)
    await attempt(run)
    return await reload(run), [tuple(row) for row in await hot().fetch(_PATH, run)]


async def test_where_code_controls_four_days_are_one_path_to_the_byte(submit, attempt, server):
    paths, answers = [], []
    for day in DAYS:
        told = says({"text": f"John is user 7, I say on day {day}.", "confidence": day / 10})
        server.will(proposes(day), told)
        row, path = await walked("code-controls", submit, attempt)
        assert row["stop_reason"] == "success", row["detail"]
        paths.append(path)
        answers.append(document(row["result"]))

    assert all(path == paths[0] for path in paths)
    assert [(step, tool) for step, _, tool, *_ in paths[0]] == [
        ("search", "search_user"),
        ("tell", "tell"),
        ("tell/ask-1", "model.default"),
        ("tell/ask-2", "model.default"),
    ]
    assert [each["ids"] for each in answers] == [[7]] * 4
    assert len({each["text"] for each in answers}) == 4, "the words are the model's"
    assert REACHED == ["search_user"] * 4
    _print("code controls", paths)


async def test_a_model_that_is_told_its_tool_does_not_fit_answers_in_as_many_steps_or_fewer(
    submit, attempt, server
):
    """What a model may change of the path: how often it is asked again, within its bound."""
    server.will(says({"text": "7", "confidence": 1}))
    _, short = await walked("code-controls", submit, attempt)
    server.will(proposes(7))
    row, long = await walked("code-controls", submit, attempt)

    assert [step for step, *_ in short] == ["search", "tell", "tell/ask-1"]
    assert [step for step, *_ in long] == ["search", "tell/ask-1", "tell/ask-2", "tell/ask-3"]
    assert short[0] == long[0]
    assert row["stop_reason"] == StopReason.MODEL_OUTPUT_INVALID
    assert REACHED == ["search_user"] * 2


async def test_where_a_model_controls_four_days_are_four_paths(submit, attempt, server):
    """The incident itself: without this one the test above could not fail."""
    paths = []
    for day in DAYS:
        server.will(proposes(day), says({"answer": {"text": "done"}}))
        _, path = await walked("model-controls", submit, attempt)
        paths.append(path)

    assert len({str(path) for path in paths}) == 4
    assert [tool for tool, _ in DAYS.values()] == REACHED
    _print("a model controls", paths)


async def test_what_it_was_not_offered_never_runs_and_the_audit_says_so(submit, attempt, server):
    ends, paths = [], []
    for day in DAYS:
        server.will(proposes(day), says({"answer": {"text": "done", "ids": [7]}}))
        row, path = await walked("model-within-bounds", submit, attempt)
        ends.append(row["stop_reason"])
        paths.append(path)

    assert ends == ["success", *[StopReason.TOOL_DENIED] * 3]
    assert REACHED == ["search_user"]
    noted = await hot().fetch("SELECT tool, guard, reason, told FROM call_audit ORDER BY at")
    assert [tuple(each)[:3] for each in noted] == [
        (tool, "allowlist", "tool_denied") for tool, _ in list(DAYS.values())[1:]
    ]
    assert "which it was not offered" in noted[-1]["told"]
    _print("a model within bounds", paths)


def _print(title: str, paths: list[list[tuple[Any, ...]]]) -> None:
    """The table of docs/incident.md."""
    print(f"\n{title}")  # noqa: T201  # the figures are what one runs this for
    for day, path in zip(DAYS, paths, strict=True):
        print(f"| {day} | {' · '.join(f'`{step}` {tool}' for step, _, tool, *_ in path)} |")  # noqa: T201  # as above
