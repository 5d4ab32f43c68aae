"""The `sluice` command, as somebody at a terminal meets it."""

import asyncio
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.database import hot
from tests.conftest import free_port, until

TICKET = json.dumps({"id": "T-1", "subject": "Refund", "text": "I was charged twice."})


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder where a newcomer stands, with nothing configured."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-home-"))
    folder.chmod(0o755)
    yield folder
    sluice(folder, "down")
    shutil.rmtree(folder, ignore_errors=True)


def environment(home: Path, **settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    return kept | {"COLUMNS": "200", "NO_COLOR": "1", "PWD": str(home)} | settings


def sluice(home: Path, *words: str, stdin: str = "", **settings: str):
    return subprocess.run(
        [sys.executable, "-m", "config.command", *words],
        cwd=home,
        env=environment(home, **settings),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_names_every_command_with_a_sentence(home):
    told = sluice(home, "--help").stdout

    for command in ("up", "worker", "submit", "show", "runs", "reviews", "answer", "doctor", "db"):
        assert re.search(rf"│ {command} +[A-Z]", told), command


def test_the_same_key_gives_the_same_run_and_show_draws_it(home):
    first = sluice(home, "db", "upgrade")
    refused = sluice(home, "submit", "nosuch", "{}")

    assert "revision" in first.stdout
    assert refused.returncode == 2
    assert "no pipeline is named 'nosuch'" in refused.stderr


async def test_a_newcomers_bug_is_shown_with_its_line_within_a_second(submit, fleet, database):
    fleet.workers(1)
    await until(lambda: hot().fetchval("SELECT count(*) FROM worker"))
    await submit("newcomer", {}, key="first-try")
    await until(lambda: hot().fetchval("SELECT bugs > 0 FROM run"), within_s=5)
    took = await hot().fetchval("SELECT extract(epoch FROM now() - created_at) FROM run")

    told = await asyncio.to_thread(
        sluice, Path.cwd(), "show", "first-try", SLUICE_DATABASE_URL=database
    )

    assert "KeyError: 'b'" in told.stdout, told.stderr
    assert 'return Number(n={"a": 1}["b"])' in told.stdout
    assert took < 1, "recorded at once, not when the third try has failed"


async def test_up_starts_everything_replaces_a_worker_that_dies_and_ctrl_c_drains_it(home):
    port = str(free_port())
    with (home / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "config.command", "up", "--workers", "1"],
            cwd=home,
            env=environment(home, SLUICE_API__PORT=port),
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
    try:
        await until(lambda: _answers(port), within_s=60)
        await until(lambda: _pipeline_known(home), within_s=30)
        key = (home / ".sluice" / "api_key").read_text().strip()
        run = _post(port, key)
        again = _post(port, key)
        shown = sluice(home, "show", "ticket-1")
        listed = sluice(home, "runs", COLUMNS="80")
        first = _children(process.pid)
        os.kill(first[0], signal.SIGKILL)
        await until(lambda: _replaced(process.pid, first), within_s=30)
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(30)

    assert run["run_id"] == again["run_id"]
    assert (run["replayed"], again["replayed"]) == (False, True)
    assert "ticket-triage v" in shown.stdout
    assert run["run_id"] in listed.stdout
    assert code == 0, (home / "up.log").read_text()[-2000:]
    assert stat.S_IMODE((home / ".sluice" / "api_key").stat().st_mode) == 0o600
    left = subprocess.run(
        ["pgrep", "-f", "config.command worker"], capture_output=True, text=True, check=False
    )
    here = [pid for pid in left.stdout.split() if _cwd(pid) == home]
    assert here == [], "a worker outlived its `up`"


def test_doctor_says_what_is_there_and_what_is_lacking(home):
    well = sluice(home, "doctor")
    without = sluice(home, "doctor", SLUICE_EMBEDDED_REDIS="off")
    broken = sluice(home, "doctor", SLUICE_DATABASE_URL="postgresql+asyncpg://x@127.0.0.1:1/x")

    assert well.returncode == 0
    assert "PostgreSQL 18" in well.stdout
    assert without.returncode == 0
    assert "workers look every 100 ms" in without.stdout
    assert broken.returncode == 1


def test_a_wrong_setting_is_told_in_a_sentence(home):
    told = sluice(home, "runs", SLUICE_WORKER__LEASE_S="1")

    assert told.returncode == 2
    assert "lease_s must be at least" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_key_is_made_for_a_tenant_and_shown_once(home):
    made = sluice(home, "create-key", "acme")
    wrong = sluice(home, "create-key", "Not A Name")

    assert re.fullmatch(r"slk_[0-9a-f]{16}_\S{43}\n", made.stdout)
    assert wrong.returncode == 2
    assert "cannot name a tenant" in wrong.stderr


def _post(port: str, key: str):
    body = json.dumps({"pipeline": "ticket-triage", "input": json.loads(TICKET)}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/runs",
        data=body,
        headers={"Authorization": f"Bearer {key}", "Idempotency-Key": "ticket-1"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.loads(answer.read())


async def _answers(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


async def _pipeline_known(home: Path) -> bool:
    return "1 seen lately" in sluice(home, "doctor").stdout


def _children(of: int) -> list[int]:
    told = subprocess.run(["pgrep", "-P", str(of)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in told.stdout.split()]


async def _replaced(up: int, first: list[int]) -> bool:
    now = _children(up)
    return len(now) == len(first) and now != first


def _cwd(pid: str) -> Path | None:
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None
