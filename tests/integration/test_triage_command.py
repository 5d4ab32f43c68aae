"""`sluice triage` from end to end: real processes, a real database, real files."""

import asyncio
import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from models import schema
from models.database import dsn
from producer.triage import Course, look
from tests.conftest import until
from tests.triage_lab import Lab, tickets


@pytest.fixture(scope="module")
async def lab(servers):
    """A database of its own, and one worker that all of these tests share."""
    name = f"triage_{uuid4().hex[:8]}"
    admin = await asyncpg.connect(dsn(servers.database_url))
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    url = servers.database_url.replace("@/postgres?", f"@/{name}?")
    await schema.upgrade(url)
    lab = Lab(Path(tempfile.mkdtemp(prefix="sluice-triage-")), url)
    lab.start("worker")
    await until(lambda: lab.ask("SELECT 1 FROM worker"), within_s=60)
    yield lab
    lab.stop()
    shutil.rmtree(lab.folder, ignore_errors=True)


def act(lab, path, *words, **settings):
    """Open the tickets; the file's name is their source, so that tests do not meet at the desk."""
    return lab.run(
        "triage", path.name, "--autonomy", "act", "--source", path.stem, "--workers", "0", *words,
        **settings,
    )  # fmt: skip


def observe(lab, path, *words):
    return lab.run("triage", path.name, "--workers", "0", *words)


async def test_observed_today_and_acted_on_tomorrow_each_ticket_is_written_once(lab):
    path = lab.backlog("tomorrow.csv", tickets(20, unsure=2))

    code, said = observe(lab, path, "--autonomy", "act", "--dry-run")
    looked = await lab.desk("tomorrow")
    acted, _ = act(lab, path)
    twice, known = act(lab, path)

    assert (code, acted, twice) == (0, 0, 0), said
    assert looked == []
    assert known.split("already known before")[1].split()[0] == "20"
    assert lab.outcomes("tomorrow-observe") == {"answered": 18, "to_review": 2}
    written = await lab.desk("tomorrow")
    assert len(written) == 18
    assert {writes for _, writes in written} == {1}
    assert {line["action"] for line in lab.lines("tomorrow-act")} == {"opened", ""}


async def test_a_run_that_is_asked_for_during_a_look_is_not_lost_sight_of(database):
    course = Course(total=1)
    looking = asyncio.create_task(look(course, width=2_000))
    await asyncio.sleep(0)

    course.open.append(asked := uuid4())
    await looking

    assert course.open == [asked]


async def test_two_terminals_at_once_make_each_ticket_once_and_both_tell_all_of_them(lab):
    path = lab.backlog("twoterms.csv", tickets(200))
    words = ("triage", path.name, "--autonomy", "act", "--source", "twoterms", "--workers", "0")

    both = [lab.start(*words, "--out", f"out/two-{n}") for n in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]

    assert [process.returncode for process in both] == [0, 0], said
    assert [lab.outcomes(f"two-{n}") for n in range(2)] == [{"answered": 200}] * 2
    written = await lab.desk("twoterms")
    assert len(written) == 200
    assert {writes for _, writes in written} == {1}


async def test_a_changed_text_is_left_alone_until_it_is_gone_over_again_under_a_name(lab):
    rows = tickets(3)
    path = lab.backlog("changed.csv", rows)
    act(lab, path)
    rows[1]["body"] = "It was never paid back."
    lab.backlog("changed.csv", rows)

    code, said = act(lab, path)
    later, _ = act(lab, path, "--again", "second look")
    line = lab.lines("changed-act")[1]
    fresh = lab.lines("changed-second-look-act")[1]

    assert (code, later) == (3, 0)
    assert "row 3 ticket T-1: triaged before with another text" in said
    assert (line["outcome"], line["category"], line["known_before"]) == (
        "changed", "delivery", True,
    )  # fmt: skip
    assert (fresh["outcome"], fresh["category"], fresh["action"]) == (
        "answered", "billing", "already_there",
    )  # fmt: skip
    assert len(await lab.desk("changed")) == 3


def test_bad_rows_are_told_and_counted_and_stop_nothing_else(lab):
    path = lab.folder / "bad.csv"
    path.write_bytes(
        b"id,subject,body,team\n1,=cmd(),Where is it?,@team\n,s,no id,\n2,s,,\n3,s,caf\xe9,\n"
        b"1,=cmd(),Where is it?,@team\n1,s,other,\n4,s,broken,\n-5,<script>alert(1)</script>,x,-1\n"
    )

    code, said = observe(lab, path)
    lines = lab.lines("bad-observe")
    with (lab.folder / "out" / "bad-observe" / "triage.csv").open(newline="") as file:
        table = list(csv.DictReader(file))

    assert code == 3
    for sentence in (
        "row 3: id is missing",
        "row 4 ticket 2: body is empty",
        "row 5 ticket 3: body holds the byte 0xe9",
        "row 7 ticket 1: id '1' stands in row 2 with another text",
        "row 8 ticket 4: tool_failed: this ticket is broken",
    ):
        assert sentence in said
    assert [line["outcome"] for line in lines] == [
        "answered", "left_out", "left_out", "left_out", "duplicate", "left_out", "failed",
        "answered",
    ]  # fmt: skip
    assert lines[0]["subject"] == "=cmd()"
    assert [row["subject"] for row in table][:1] == ["'=cmd()"]
    assert [row["team"] for row in table][:1] == ["'@team"]
    assert (table[-1]["id"], table[-1]["team"]) == ("-5", "-1")
    page = (lab.folder / "out" / "bad-observe" / "report.html").read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page


@pytest.mark.parametrize(("words", "why"), [
    (("nosuch.csv",), "nosuch.csv cannot be read: No such file"),
    (("good.csv", "--out", "good.csv"), "good.csv cannot hold the results"),
])  # fmt: skip
def test_what_is_of_no_use_is_said_before_any_server_starts(lab, words, why):
    lab.backlog("good.csv", tickets(1))

    code, said = lab.run("triage", *words)

    assert code == 2
    assert why in " ".join(said.replace("│", "").split())
    assert "Traceback" not in said


async def test_a_worker_that_would_write_to_another_desk_is_noticed_before_anything_is(lab):
    path = lab.backlog("elsewhere.csv", tickets(2))

    code, said = act(lab, path, "--desk", "http://127.0.0.1:9/support")

    assert code == 1
    assert "opens tickets at the local desk, not at http://127.0.0.1:9/support" in said
    assert await lab.ask("SELECT 1 FROM run WHERE input->>'source' = 'elsewhere'") == []


async def test_answered_reviews_are_completed_by_the_same_command(lab):
    path = lab.backlog("later.csv", tickets(6, unsure=4))
    act(lab, path)
    reviews = [line["review_id"] for line in lab.lines("later-act") if line["review_id"]]
    (lab.folder / "ids").write_text("\n".join(reviews[:3]))

    lab.run("answer", "--ids", "ids", "--approve")
    lab.run("answer", reviews[3], "--reject", "--note", "spam")
    code, said = act(lab, path)

    assert code == 0, said
    assert lab.outcomes("later-act") == {"answered": 5, "rejected": 1}
    assert [line["decided_by"] for line in lab.lines("later-act")].count("person") == 3
    assert len(await lab.desk("later")) == 5


async def test_ctrl_c_drains_and_the_same_command_goes_on(lab):
    path = lab.backlog("ctrlc.csv", tickets(1_500))
    words = ("triage", path.name, "--autonomy", "act", "--source", "ctrlc", "--workers", "1")
    process = lab.start(*words)
    await until(lambda: lab.desk("ctrlc"), within_s=60)

    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=40)[0]
    code, rest = lab.run(*words)

    assert process.returncode == 130, said
    assert "go on with: sluice triage ctrlc.csv" in said
    assert code == 0, rest
    written = await lab.desk("ctrlc")
    assert len(written) == 1_500
    assert {writes for _, writes in written} == {1}


async def test_workers_do_not_outlive_whoever_started_them_however_it_went(lab):
    before = [row["pid"] for row in await lab.ask("SELECT pid FROM worker")]
    start = "import time; from producer.children import Children; c = Children(1, drain_s=1)"
    parent = subprocess.Popen(
        [sys.executable, "-c", f"{start}; c.__enter__(); time.sleep(600)"],
        cwd=lab.folder,
        env=lab.environment(SLUICE_LOG_LEVEL="error"),
    )
    started = await until(
        lambda: lab.ask("SELECT pid FROM worker WHERE pid <> ALL($1)", before), within_s=60
    )

    parent.kill()
    parent.wait()

    await until(lambda: _gone([row["pid"] for row in started]), within_s=20)
    assert await lab.ask("SELECT 1 FROM worker WHERE pid <> ALL($1)", before) == []


async def _gone(pids):
    await asyncio.sleep(0.1)
    return not any(_runs(pid) for pid in pids)


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A process whose parent was killed may stand as a zombie where nobody reaps.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
