"""Secrets planted in arguments, results, errors and exceptions are found in no log and no view."""

import asyncio
import csv
from collections import defaultdict

import aiohttp
import orjson
import pytest

from models import contract
from models.database import hot
from models.tenant import create_key
from producer import redacted
from producer.backlog import Row, Ticket, Use
from producer.redacted import restored
from producer.report_parts import quoted
from producer.triage import Course
from producer.triage_results import _result
from tests.conftest import document, fleet_of, free_port, until
from tests.leaky import DATA, PIPELINES, POLICY, SECRETS, TOLD, WAYS
from tests.service import serving


def leaks(text: str) -> list[str]:
    return [each for each in SECRETS if each in text]


@pytest.fixture
async def leaked(submit, database, tmp_path, monkeypatch):
    """A worker and an API that run under the policy, and runs that leak in every way."""
    monkeypatch.setenv("COLUMNS", "2000")  # a secret in two lines would not be found
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    await contract.publish(each.contract() for each in PIPELINES.values())
    settings = {
        "POLICY": str(policy), "WORKER__CATALOGUES": '["tests.leaky"]', "WORKER__BUG_LIMIT": "1",
        "LOG_LEVEL": "debug",
    }  # fmt: skip
    runs = {each: await submit("leak", {"how": each, "data": DATA}, key=each) for each in WAYS}
    with fleet_of(database, None, tmp_path) as fleet:
        fleet.workers(1, **settings)
        await until(lambda: hot().fetchval(
            "SELECT count(*) = $1 FROM run WHERE attempt > 0 AND status <> 'running'", len(WAYS)
        ))  # fmt: skip
        yield fleet, settings, runs


async def test_no_log_no_error_and_no_view_tells_a_secret(leaked, database, tmp_path):
    fleet, settings, runs = leaked

    # What is kept is whole where a run goes on with it, and redacted where nobody does.
    rows = await hot().fetch("SELECT key, stop_reason, status, detail, error, result FROM run")
    entries = await hot().fetch("SELECT args, result, error FROM ledger_entry")
    assert {row["stop_reason"] for row in rows} == {
        "success", "tool_failed", "internal_error", "step_budget", None,
    }  # fmt: skip
    errors = [row["error"] for row in (*rows, *entries)] + [row["detail"] for row in rows]
    told = [row["detail"] for row in rows if row["key"] in {"rejected", "away", "raise"}]
    assert all("***" in each for each in told)
    ask = next(row["detail"] for row in rows if row["key"] == "ask")
    assert leaks(str([each for each in errors if each != ask])) == []
    assert any(document(row["args"])["data"] == DATA for row in entries if row["args"])

    port = free_port()
    fleet.start("api", API__PORT=str(port), **settings)
    seen = await asked(f"http://127.0.0.1:{port}", await create_key("acme"), runs)
    assert leaks(seen) == []
    assert seen.count("***") > 20

    sheet = tmp_path / "reviews.csv"
    commands = [["show", str(run)] for run in runs.values()] + [
        ["runs"], ["reviews"], ["reviews", "--list"], ["reviews", "--export", str(sheet)],
        ["audit"], ["notices"], ["spend"], ["doctor"], ["gate"],
    ]  # fmt: skip
    for words in commands:
        process = fleet.start(*words, **settings)
        assert await asyncio.to_thread(process.wait, 30) == 0, words
    assert leaks(fleet.logs()) == []
    assert "leak.read" in fleet.logs()
    assert leaks(sheet.read_text()) == []
    assert "***" in sheet.read_text()

    process = fleet.start("show", str(runs["result"]), "--whole", **settings)
    assert await asyncio.to_thread(process.wait, 30) == 0
    assert "key-secret" in fleet.logs(), "who must see the whole says so"


async def asked(url, key, runs) -> str:
    """Everything the API says of these runs, and of a verdict that does not fit."""
    told = []
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:

        async def get(path):
            async with session.get(url + path) as answer:
                assert answer.status == 200, await answer.text()
                told.append(await answer.text())
                return orjson.loads(told[-1])

        await until(lambda: up(session, url))
        shown = [await get(f"/v1/runs/{each}") for each in runs.values()]
        for each in runs:
            await get(f"/v1/requests/{each}")
        (review,) = (await get("/v1/reviews"))["reviews"]
        bad = {"verdict": "edited", "answer": {"data": "my api_key=told-key, Bearer told-bearer"}}
        async with session.post(f"{url}/v1/reviews/{review['id']}/verdict", json=bad) as answer:
            assert answer.status == 422
            told.append(await answer.text())
    (whole,) = [each for each in shown if each["stop_reason"] == "success"]
    assert whole["result"]["data"]["headers"] == {"Authorization": "***", "Cookie": "***"}
    assert whole["result"]["data"]["items"] == [{"access_token": "***"}]
    assert review["proposal"] == whole["result"]
    return "".join(told)


async def up(session, url) -> bool:
    try:
        async with session.get(f"{url}/healthz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def test_an_edited_answer_keeps_what_its_editor_could_not_see(leaked, database, opened):
    _, _, runs = leaked
    key = await create_key("acme")
    async with (
        serving(opened) as url,
        aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {key}"}) as session,
    ):
        async with session.get("/v1/reviews") as answer:
            (review,) = (await answer.json())["reviews"]
        edited = review["proposal"]["data"] | {"text": "another"}
        said = {"verdict": "edited", "answer": {"data": edited}}
        async with session.post(f"/v1/reviews/{review['id']}/verdict", json=said) as answer:
            assert answer.status == 200, await answer.text()

    kept = await hot().fetchval("SELECT answer FROM review WHERE run_id = $1", runs["ask"])
    assert document(kept) == {"data": DATA | {"text": "another"}}


async def test_a_sheet_that_is_only_approved_changes_nothing_that_it_hides(
    leaked, sluice, tmp_path
):
    _, _, runs = leaked
    sheet, filled = tmp_path / "sheet.csv", tmp_path / "filled.csv"
    await hot().execute(
        "UPDATE review SET proposal = $1, answer_schema = NULL",
        orjson.dumps({"api_key": "key-secret", "n": 1}),
    )
    await sluice("reviews", "--export", str(sheet))
    (line,) = csv.DictReader(sheet.read_text().splitlines())
    assert line["answer.api_key"] == "***"
    with filled.open("w") as file:
        writer = csv.DictWriter(file, line)
        writer.writeheader()
        writer.writerow(line | {"verdict": "approve", "answer.n": "2"})

    code, out, err = await sluice("answer", "--import", str(filled))

    assert code == 0, out + err
    kept = await hot().fetchval("SELECT answer FROM review WHERE run_id = $1", runs["ask"])
    assert document(kept) == {"api_key": "key-secret", "n": 2}


def test_a_page_hides_what_a_log_would_hide():
    """Under the usual policy, which adds no name and no pattern."""
    page = quoted(f"{DATA['text']} {TOLD}")

    assert leaks(page) == ["KD-123456", "told-iban", "KD-654321"]
    assert "sent with Bearer ***" in page


def test_a_triages_files_hide_secrets_and_leave_drafts_alone():
    row = Row(2, 2, Use.TICKET, Ticket("T-1", "", "", None), "", {})
    draft = {"reply": "your password: reset it", "because": "Bearer bearer-secret-1"}
    run = defaultdict(lambda: None, {
        "id": "r", "result": orjson.dumps(draft), "stop_reason": "tool_failed", "detail": TOLD,
        "spent_usd": 0, "tokens": 0, "active_s": 0.0,
    })  # fmt: skip

    record = _result(row, run, Course(1), 0).record()

    assert record["reply"] == draft["reply"]
    assert record["because"] == "Bearer ***"
    assert leaks(record["why"]) == ["told-iban", "KD-654321"], "the usual policy names neither"


def test_a_result_without_secrets_is_handed_out_byte_for_byte():
    text = b'{"n": 1e22,  "tokens": 12, "note": "your password: reset it; basic training"}'

    assert orjson.dumps(redacted.handed_out(text)) == text


@pytest.mark.parametrize(("answer", "expected"), [
    ({"a": "***", "b": 2}, {"a": "s", "b": 2}),
    ({"a": "mine", "b": 1}, {"a": "mine", "b": 1}),
    ({"a": "***", "b": [{"c": "***"}, 3]}, {"a": "s", "b": [{"c": "t"}, 3]}),
    ({"b": 1}, {"b": 1}),
    ("else", "else"),
])  # fmt: skip
def test_what_was_left_alone_is_put_back(answer, expected):
    whole = {"a": "s", "b": [{"c": "t"}, 2]}
    seen = {"a": "***", "b": [{"c": "***"}, 2]}

    assert restored(answer, whole, seen) == expected
