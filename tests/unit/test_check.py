"""`sluice check`: it finds what is wrong in every bad pipeline, and nothing in the good ones."""

import time
from pathlib import Path

import pytest

from config.policy import Policy
from tests import (
    act_pipelines,
    assess_pipelines,
    bad_pipelines,
    bad_plans,
    bound_pipelines,
    plan_pipelines,
    six_cases,
)
from tests.chaos import paths, ward
from worker import pipelines
from worker.check import Severity, check, unlisted
from worker.sources import find

LINES = Path(bad_pipelines.__file__).read_text().splitlines()


def findings(module, policy=None):
    found = find([module], packages=False)
    told = check(found.pipelines, found.tools, policy or Policy(), "test")
    return [*told, *unlisted(found.modules, found.pipelines)]


@pytest.fixture(scope="module")
def bad():
    """By rule, the lines at which it was found."""
    by = {}
    for each in findings(bad_pipelines.__name__):
        by.setdefault(each.rule, set()).add(int(each.place.rpartition(":")[2]))
        assert each.told
        assert each.do
    return by


def line(text):
    """The numbers of the lines that have this in them."""
    return {number for number, each in enumerate(LINES, start=1) if text in each}


@pytest.mark.parametrize(
    ("rule", "texts"),
    [
        ("concurrency", ["asyncio.gather", "TaskGroup", "create_task", "ensure_future"]),
        ("clock", ["asyncio.sleep", "time.time()", "time.sleep", "datetime.now"]),
        ("chance", ["random.choice", "random.random", "uuid.uuid4()", 'hash("text")']),
        ("surroundings", ['os.environ["HOME"]']),
        ("world", ['open("/dev/null")', "aiohttp.ClientSession"]),
        ("set-order", ["in set(given.items)"]),
        ("swallowed", ["    except:", "except BaseException:", "suppress(BaseException)"]),
        ("step-twice", ['"one", send']),
        ("step-in-loop", ['"again"', 'f"again-{given.id}"', '"perhaps"', '"often"']),
        ("undeclared", ['"other", mistyped']),
        ("no-such-argument", ['"wrong", send']),
        ("missing-argument", ['"wrong", send']),
        ("ref-to-nothing", ["input:/nothing", "plain:/nothing"]),
        ("plain-value", ['"plain", send', '"often"']),
        ("fixed-input", ['fixed(f"desk-{given.id}")']),
        ("trusts-nothing", ["/ident"]),
        ("sink-of-nothing", ['@tool("bad.sinks"']),
        ("trusted-nothing", ['@tool("bad.sinks"']),
        ("no-sinks", ['@tool("bad.open"', '@tool("bad.drop"']),
        ("unknowable", ['@tool("bad.open"']),
        ("open-field", ['@tool("bad.open"']),
        ("float-money", ['@tool("bad.open"']),
        ("endless-text", ['@tool("bad.page"']),
        ("destructive", ['@pipeline("costs"', 'call("away", drop']),
        ("unaffordable", ['@pipeline("costs"', '@pipeline("acts"']),
        ("unlisted", ['@pipeline("forgotten"']),
    ],
)
def test_each_rule_names_its_lines_and_no_others(bad, rule, texts):
    wanted = set().union(*(line(text) for text in texts))
    if rule == "step-twice":
        wanted = {max(wanted)}  # the second one is too many

    assert bad[rule] == wanted


def test_plans_and_assessments_are_steps_like_any():
    rows = Path(bad_plans.__file__).read_text().splitlines()
    marks = [(n, each.partition("  # ")[2].split()) for n, each in enumerate(rows, 1)]

    found = findings(bad_plans.__name__)
    told = {each for each in found if each.place.rpartition(":")[0].endswith("bad_plans.py")}

    assert {(int(each.place.rpartition(":")[2]), each.rule) for each in told} == {
        (n, rule) for n, rules in marks for rule in rules
    }


def test_a_step_of_one_round_of_a_loop_is_a_warning_and_of_some_an_error():
    loops = [each for each in findings(bad_pipelines.__name__) if each.rule == "step-in-loop"]
    severity = {each.told.split("'")[1]: each.severity for each in loops if "'" in each.told}

    assert severity["perhaps"] is Severity.WARNING
    assert severity["often"] is severity["again"] is Severity.ERROR


def test_every_rule_is_in_this_list_and_in_the_documentation(bad):
    page = (Path(__file__).parents[2] / "docs" / "pipelines.md").read_text()

    assert [rule for rule in bad if f"`{rule}`" not in page] == []


@pytest.mark.parametrize(
    "module",
    [
        pipelines,
        act_pipelines,
        assess_pipelines,
        bound_pipelines,
        plan_pipelines,
        six_cases,
        paths,
        ward,
    ],
    ids=lambda each: each.__name__,
)
def test_good_pipelines_have_no_errors(module):
    assert [each for each in findings(module.__name__) if each.severity is Severity.ERROR] == []


def test_our_own_pipelines_give_no_warning_either_and_it_is_fast():
    begun = time.monotonic()

    assert findings("worker.pipelines") == []
    assert time.monotonic() - begun < 2


def test_what_the_policy_denies_or_shortens_is_said():
    policy = Policy.model_validate({
        "tools": {"deny": ["ticket.*"], "timeouts_s": {"kb.read": 1}}
    })  # fmt: skip
    rules = {(each.rule, each.about) for each in findings("worker.pipelines", policy)}

    assert rules == {
        ("denied", "ticket-triage v1"),
        ("denied", "ticket-triage v2"),
        ("denied", "ticket-triage v3"),
        ("shorter-timeout", "ticket-triage v2"),
        ("shorter-timeout", "ticket-triage v3"),
    }


def test_what_a_pipelines_own_overlay_denies_is_said_of_it_alone():
    policy = Policy.model_validate({"pipelines": {"ticket-triage": {"tools": {"deny": ["kb.*"]}}}})

    about = {each.about for each in findings("worker.pipelines", policy)}
    assert about == {"ticket-triage v2", "ticket-triage v3"}


def test_two_tools_of_one_name_are_told_unless_they_are_alike(tmp_path, monkeypatch):
    text = """
from tools.tool import Call, Contract, Effect, tool
class Given(Contract):
    n: int = 0
@tool("{name}", effect=Effect.READ, timeout_s={timeout}, sinks={{}})
async def one(args: Given, call: Call) -> Given:
    return args
@tool("same", effect=Effect.{effect}, timeout_s=2, key_kept_for_s=1, sinks={{}})
async def two(args: Given, call: Call) -> Given:
    return args
TOOLS = [one, two]
"""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "alike_tools.py").write_text(text.format(name="same", timeout=1, effect="READ"))
    (tmp_path / "other_tools.py").write_text(text.format(name="same", timeout=1, effect="WRITE"))

    assert findings("alike_tools") == []
    assert [each.rule for each in findings("other_tools")] == ["two-tools"]
