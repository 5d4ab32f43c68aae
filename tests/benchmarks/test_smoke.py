"""The benchmarks themselves, at their smallest: they measure, check what they did, and tell."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_benchmarks_measure_check_and_tell(tmp_path, redis_url):
    only = ["--only", "reads", "--only", "http-16", "--only", "gateway"]

    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "--tiny", *only, "--json", tmp_path / "it.json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert "READ steps" in done.stdout
    told = json.loads((tmp_path / "it.json").read_text())
    assert {each["name"] for each in told["samples"]} == {"reads", "http-16", "gateway"}
    for sample in told["samples"]:
        if sample["name"] == "gateway":
            assert 0 < sample["values"]["read_us"] < sample["values"]["write_us"]
            continue
        assert sample["values"]["per_s"] > 0
        assert sample["values"]["cpu_us"] >= 0
        assert isinstance(sample["noisy"], bool)
    assert told["facts"]["postgres"]["fsync"] == "on"
    assert {each["title"]: each["target"] for each in told["medians"]}["READ steps"] == 4000
    assert str(ROOT) not in json.dumps(told)
