"""`sluice pipelines`, `tools` and `check`, without a database."""

import json

import pytest
import typer

from config.settings import WorkerSettings, settings
from worker.commands import check as check_command
from worker.commands import pipelines as pipelines_command
from worker.commands import tools as tools_command


def said(capsys, command, *words):
    """The exit code of a command, and what it wrote as JSON."""
    code = 0
    try:
        command(*words, as_json=True)
    except typer.Exit as left:
        code = left.exit_code
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """A terminal in which nothing is folded."""
    monkeypatch.setattr(pipelines_command.console, "_width", 200)


@pytest.fixture
def catalogues(monkeypatch):
    """What the settings of these commands name."""

    def name(*modules):
        own = settings().model_copy(update={"worker": WorkerSettings(catalogues=modules)})
        for each in (check_command, pipelines_command, tools_command):
            monkeypatch.setattr(each, "settings", lambda: own)

    return name


def test_pipelines_are_told_with_version_tools_budget_input_and_what_they_trust(capsys):
    code, told = said(capsys, pipelines_command.pipelines)

    two = next(each for each in told if each["version"] == 2)
    assert (code, two["name"], two["tools"]) == (0, "ticket-triage", ["kb.read", "ticket.create"])
    assert two["budget"]["steps"] == 10
    assert two["input"]["id"]
    assert not two["input"]["subject"]
    assert two["trusts"] == ["/id", "/source"]


def test_tools_are_told_with_all_that_the_gateway_knows_of_them(capsys, catalogues):
    catalogues("tests.bound_pipelines")
    code, told = said(capsys, tools_command.tools)

    by = {each["name"]: each for each in told}
    assert code == 0
    assert by["mail.send"]["sinks"] == {
        "/text": "untrusted", "/kind": "endorsed", "/amount": "trusted"
    }  # fmt: skip
    assert by["mail.note"]["sinks"] is None
    assert by["mail.note"]["used_by"] == ["mailer v1"]
    assert by["mail.send"]["key_kept_for_s"] == 3600
    assert by["page.read"]["trusted"] == ["/people"]
    assert by["page.read"]["key_kept_for_s"] is None


def test_tables_show_the_same_to_people(capsys, catalogues):
    catalogues("tests.bound_pipelines", "tests.pipelines")
    pipelines_command.pipelines()
    tools_command.tools()

    shown = capsys.readouterr().out
    for each in ("mailer v1", "/customer", "a person decides", "looked up"):
        assert each in shown


def test_check_ends_with_1_on_errors_and_with_0_on_warnings(capsys):
    bad, findings = said(capsys, check_command.check, ["tests.bad_pipelines"])
    good, warnings = said(capsys, check_command.check, ["tests.bound_pipelines"])

    assert (bad, good) == (1, 0)
    assert {each["severity"] for each in findings} == {"error", "warning"}
    assert {(each["rule"], each["severity"]) for each in warnings} == {("no-sinks", "warning")}
    assert set(findings[0]) == {"severity", "rule", "place", "about", "told", "do"}


def test_check_says_what_cannot_be_imported_as_a_finding(capsys):
    code, (finding,) = said(capsys, check_command.check, ["nowhere_at_all"])

    assert (code, finding["rule"], finding["severity"]) == (1, "unusable", "error")
    assert "PYTHONPATH" in finding["told"]


@pytest.mark.parametrize("command", [pipelines_command.pipelines, tools_command.tools])
def test_a_source_that_cannot_be_used_is_told_and_ends_a_list_with_1(capsys, catalogues, command):
    catalogues("worker.pipelines", "nowhere_at_all")

    with pytest.raises(typer.Exit) as left:
        command()
    told = capsys.readouterr()
    assert left.value.exit_code == 1
    assert "nowhere_at_all cannot be used" in told.err
    assert "ticket-triage" in told.out
