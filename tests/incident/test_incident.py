"""The incident in small: Sluice comes through it without a duplicate, and raw Celery does not."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.incident.plan import ROUNDS

ROOT = Path(__file__).parents[2]
SIZE = ("--tickets", "40", "--seconds", "3", "--patience", "60")

Told = Mapping[str, Mapping[str, Any]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> dict[str, Told]:
    """Every side's tally, by round and side; the rounds are played at the same time."""
    folder = tmp_path_factory.mktemp("incident")
    with ExitStack() as playing:
        played = {
            kind.name: playing.enter_context(_played(kind.name, folder / kind.name))
            for kind in ROUNDS
            if kind.name == "plain" or os.environ.get("SLUICE_TEST_LONG") == "1"
        }
        return {name: _heard(process, folder / name) for name, process in played.items()}


@contextmanager
def _played(name: str, heard: Path) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.incident", *SIZE, "--only", name, "--json", str(heard)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()  # it ends its own servers and workers
        process.communicate()


def _heard(process: "subprocess.Popen[str]", heard: Path) -> Told:
    out, error = process.communicate()
    assert process.returncode == 0, error[-3000:]
    assert "duplicates" in out
    return {each["side"]: each for each in json.loads(heard.read_text())}


@pytest.mark.parametrize(
    ("kind", "side"),
    [
        ("plain", "sluice-once"),
        pytest.param("dedupes", "sluice", marks=pytest.mark.long),
        pytest.param("drifts", "sluice-once", marks=pytest.mark.long),
    ],
)
def test_sluice_files_each_ticket_once_and_tells_of_each(told, kind, side):
    it = told[kind][side]

    assert it["faults"]["create_then_502"] > 0
    assert it["faults"]["schema"] > 0
    assert it["asks"] >= it["asked"] == 40
    assert (it["duplicates"], it["lost"], it["unfinished"]) == (0, [], [])
    assert it["succeeded"] + sum(it["failed"].values()) + len(it["in_doubt"]) == it["asked"]


def test_what_can_be_looked_up_is_found_whatever_the_answer_said(told):
    it = told["plain"]["sluice-once"]

    assert (it["succeeded"], it["tickets"], it["in_doubt"]) == (40, 40, [])
    assert it["looks"] >= it["faults"]["schema"]


@pytest.mark.long
def test_an_answer_outside_the_contract_ends_the_run_and_is_not_asked_for_again(told):
    it = told["dedupes"]["sluice"]

    assert set(it["failed"]) == {"tool_output_invalid"}
    assert it["failed"] == it["failed_with_ticket"], "it happened, and once"
    assert it["faults"]["schema"] == it["failed"]["tool_output_invalid"]


@pytest.mark.long
def test_when_the_look_up_has_changed_too_a_person_is_asked(told):
    it = told["drifts"]["sluice-once"]

    assert it["in_doubt"]
    assert it["failed"] == {}
    assert it["in_doubt_with_ticket"] == len(it["in_doubt"])


def test_the_same_weather_makes_raw_celery_file_tickets_twice(told):
    it = told["plain"]["celery"]

    assert it["faults"]["create_then_502"] > 0
    assert it["duplicates"] > 0
    assert sum(it["failed_with_ticket"].values()) > 0, "and say that tickets failed which exist"


@pytest.mark.long
def test_a_key_made_of_the_reference_would_have_saved_celery_the_duplicates(told):
    assert told["dedupes"]["celery-ref"]["duplicates"] == 0
