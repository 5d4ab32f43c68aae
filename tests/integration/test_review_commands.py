"""`sluice reviews` and `sluice answer`: what waits for a person, one by one and many at once."""

import csv
import json
import shutil
import tempfile
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from models import schema
from models.database import dsn
from tests.triage_lab import Lab


@pytest.fixture(scope="module")
async def lab(servers):
    name = f"reviews_{uuid4().hex[:8]}"
    admin = await asyncpg.connect(dsn(servers.database_url))
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    url = servers.database_url.replace("@/postgres?", f"@/{name}?")
    await schema.upgrade(url)
    lab = Lab(Path(tempfile.mkdtemp(prefix="sluice-reviews-")), url)
    rows = [
        {"id": f"R-{n}", "subject": f"About {n}", "body": f"I am unsure. {'I paid.' * (n % 2)}"}
        for n in range(12)
    ]
    lab.backlog("asked.csv", rows)
    lab.run("triage", "asked.csv", "--workers", "1")
    yield lab
    lab.stop()
    shutil.rmtree(lab.folder, ignore_errors=True)


async def open_reviews(lab):
    return await lab.ask(
        "SELECT id, proposal->>'category' AS category FROM review"
        " WHERE verdict IS NULL ORDER BY asked_at, id"
    )


def test_reviews_are_grouped_by_kind_and_category_with_samples(lab):
    code, said = lab.run("reviews")

    assert code == 0
    assert "uncertain, billing: 6," in said
    assert "uncertain, delivery: 6," in said
    assert said.count("  About ") == 6, "three of each"


async def test_each_review_is_listed_with_its_whole_id_question_and_proposal(lab):
    found = await open_reviews(lab)

    code, said = lab.run("reviews", "--list", "--limit", "3", COLUMNS="80")

    assert code == 0
    assert all(str(row["id"]) in said for row in found[:3])
    assert "only 30 % sure of the category" in said


async def test_a_category_is_approved_at_once_each_review_once_with_a_name_on_it(lab):
    code, said = lab.run("answer", "--all", "--category", "delivery", "--approve")
    again, nothing = lab.run("answer", "--all", "--category", "delivery", "--approve")

    rows = await lab.ask("SELECT verdict, who FROM review WHERE proposal->>'category' = 'delivery'")
    assert (code, again) == (0, 0)
    assert "approved 6; their runs go on" in said
    assert "no worker runs: start one with `sluice up`, or run triage again" in said
    assert nothing.strip() == "nothing decided"
    assert {(row["verdict"], row["who"]) for row in rows} == {("approved", "ada")}
    queued = await lab.ask("SELECT 1 FROM run WHERE status = 'queued'")
    assert len(queued) == 6


async def test_a_sheet_decides_what_it_says_and_leaves_the_rest_open(lab):
    lab.run("reviews", "--category", "billing", "--export", "sheet.csv")
    path = lab.folder / "sheet.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0] |= {"verdict": "approve"}
    rows[1] |= {"verdict": "approve", "answer.reply": "=Paid back today."}
    rows[2] |= {"verdict": "Reject", "note": "spam"}
    with path.open("w", newline="", encoding="utf-16") as file:  # as a spreadsheet saves it
        writer = csv.DictWriter(file, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)

    code, said = lab.run("answer", "--import", "sheet.csv")
    again, refused = lab.run("answer", "--import", "sheet.csv")

    given = {
        str(row["id"]): (row["verdict"], row["reply"], row["note"])
        for row in await lab.ask(
            "SELECT id, verdict, note, answer->>'reply' AS reply FROM review"
            " WHERE verdict IS NOT NULL"
        )
    }
    assert (code, again) == (0, 3), said
    assert "approved 1, edited 1, rejected 1" in said
    assert refused.count("is not open: answered already") == 3
    assert given[rows[0]["review"]] == ("approved", None, None)
    assert given[rows[1]["review"]] == ("edited", "=Paid back today.", None)
    assert given[rows[2]["review"]] == ("rejected", None, "spam")
    assert len(await open_reviews(lab)) == 3


async def test_an_answer_that_does_not_fit_changes_nothing_and_says_where(lab):
    review = str((await open_reviews(lab))[0]["id"])

    code, said = lab.run("answer", review, "--edit", json.dumps({"category": "billing"}))
    (lab.folder / "bad.csv").write_text(f"review,verdict\n{review},maybe\n")
    sheet, told = lab.run("answer", "--import", "bad.csv")

    assert (code, sheet) == (3, 2)
    assert f"review {review}: /: " in said
    assert "row 2, verdict: 'maybe' is none of approve, edit, reject" in told
    assert review in {str(row["id"]) for row in await open_reviews(lab)}


def test_the_runs_that_were_answered_are_completed_by_the_triage_run_again(lab):
    code, said = lab.run("triage", "asked.csv", "--workers", "1")

    assert code == 0, said
    assert lab.outcomes("asked-observe") == {"answered": 8, "rejected": 1, "to_review": 3}
    replies = [line["reply"] for line in lab.lines("asked-observe")]
    assert "=Paid back today." in replies
