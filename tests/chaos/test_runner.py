"""The runner of `make chaos`, for a quarter of a minute: that it runs, and that it can say no."""

import subprocess
import sys

import pytest

from tests.chaos.nursery import ROOT

QUARTER = ("--minutes", "0.25", "--runs", "60", "--seed", "7", "--promised-s", "60")


@pytest.mark.long
def test_a_quarter_of_a_minute_of_chaos_breaks_no_promise():
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", *QUARTER],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    figures = {
        cells[1].strip(): cells[2].strip()
        for line in done.stdout.splitlines()
        if len(cells := line.split("│")) == 4
    }
    assert figures["runs: success"] == figures["requests"] == "60"
    assert figures["duplicates"] == figures["lost"] == figures["promises broken"] == "0"
    assert [name for name in figures if name.startswith("SIGKILL")], "nobody was killed"
    assert [name for name in figures if name.startswith("desk: ")], "the desk never failed"
