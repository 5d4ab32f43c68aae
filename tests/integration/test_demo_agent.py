"""`make demo-agent`: a plan, a refusal, a review, an injection, a stop; real processes."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_demo_shows_an_agent_that_is_refused_asked_about_and_stopped(database, tmp_path):
    kept = {name: value for name, value in os.environ.items() if name[:7] != "SLUICE_"}
    own = {
        "SLUICE_DATABASE_URL": database,
        "SLUICE_DATA": str(tmp_path / "data"),
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
    }

    done = subprocess.run(
        [sys.executable, "-m", "samples.agent"],
        cwd=tmp_path, env=kept | own, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    said = done.stdout
    assert done.returncode == 0, (said + done.stderr)[-3000:]
    for told in ("/plan/1/arguments/usd", "/to needs to be trusted", "loop_detected", "success"):
        assert told in said
    assert "approval  open: sluice answer" in said, "who is asked sees what, and what to type"
    assert "nothing to eve@evil.example" in said
    left = [path.read_text() for path in (tmp_path / "out" / "demo-agent").glob("*.txt")]
    assert left == ["refund of 49.90 USD to ann@example.com"]
