"""Levels as one worker process knows them."""

import time
from pathlib import Path
from uuid import uuid4

import pytest

from config.policy_autonomy import Independence
from config.policy_file import PolicyError, read
from config.rulebook import Rulebook
from models.autonomy import DISPOSES, Autonomy, holds
from models.budget import Budget, Usage
from worker.held import Held
from worker.levels import Levels


def held() -> Held:
    now = time.monotonic()
    return Held(uuid4(), 1, "acme", "noop", 1, None, b"{}", Budget(), Usage(), 0, now, 0.0)


def row(level: str, pipeline: str = "noop") -> dict[str, str]:
    return {"tenant": "acme", "pipeline": pipeline, "level": level}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text("{}")
    return path


def test_a_level_lowered_midway_holds_at_once_and_a_raised_one_only_from_the_next_attempt(path):
    levels, run = Levels(Rulebook(path)), held()
    levels.read([])
    with levels.hold(run):
        seen = [run.autonomy]
        for level in ("reversible", "act", "observe", "act"):
            levels.read([row(level), row("observe", "another")])
            seen.append(run.autonomy)
        again = held()
        with levels.hold(again):
            seen.append(again.autonomy)
    levels.read([row("observe")])

    assert seen == ["act", "reversible", "reversible", "observe", "observe", "act"]
    assert again.autonomy is Autonomy.ACT, "it has left"


def test_before_the_first_look_nothing_is_written(path):
    levels, run = Levels(Rulebook(path)), held()

    with levels.hold(run):
        assert run.autonomy is Autonomy.OBSERVE


def test_a_changed_policy_holds_for_runs_in_hand(path):
    rules, run = Rulebook(path), held()
    levels = Levels(rules)
    levels.read([])
    with levels.hold(run):
        path.write_text("autonomy: {level: observe}")
        rules.file = read(path)
        rules._views.clear()
        levels.read([])

        assert run.autonomy is Autonomy.OBSERVE


def test_what_a_person_has_allowed_is_carried_out_whatever_the_level():
    said = Independence(level="observe", initial="observe")

    assert holds({("*", DISPOSES): Autonomy.OBSERVE}, "acme", DISPOSES, said) is Autonomy.ACT
    assert holds({}, "acme", "noop", said) is Autonomy.OBSERVE


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("autonomy: {level: free}", "autonomy.level"),
        ("autonomy: {levle: act}", "autonomy.levle"),
        ("autonomy: act", "autonomy"),
        ("autonomy: {initial: null}", "autonomy.initial"),
        (
            "autonomy: {promote: {observe: {fewest: 1, precision: 1, reversals: 0}}}",
            "autonomy.promote.observe",
        ),
        ("autonomy: {promote: {act: {fewest: 1}}}", "autonomy.promote.act.precision"),
        (
            "autonomy: {promote: {act: {fewest: 0, precision: 1, reversals: 0}}}",
            "autonomy.promote.act.fewest",
        ),
        (
            "autonomy: {promote: {act: {fewest: 1, precision: .nan, reversals: 0}}}",
            "autonomy.promote.act.precision",
        ),
        (
            "autonomy: {promote: {act: {fewest: 1, precision: 1, reversals: 2}}}",
            "autonomy.promote.act.reversals",
        ),
        ("tenants: {acme: {autonomy: {level: none}}}", "tenants.acme.autonomy.level"),
    ],
)
def test_what_no_policy_says_of_autonomy_is_refused_by_its_key(path, text, key):
    path.write_text(text)

    with pytest.raises(PolicyError, match=f"is wrong: {key}"):
        read(path)


def test_an_overlay_changes_one_number_of_a_bar(path):
    path.write_text("pipelines: {noop: {autonomy: {promote: {act: {fewest: 500}}}}}")

    bar = read(path).policy.of("acme", "noop").autonomy.promote.act

    assert (bar.fewest, bar.precision) == (500, 0.98)
