"""Where pipelines come from: modules by name, packages by entry point, and what cannot be used."""

import sys
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
import typer
from structlog.testing import capture_logs

from config.settings import WorkerSettings
from worker import cli
from worker.sources import find

PIPELINE = """
from pydantic import BaseModel
from worker.flow import Flow
from worker.pipeline import pipeline
class Given(BaseModel):
    n: int = 0
@pipeline("{name}", version=1)
async def body(flow: Flow, given: Given) -> Given:
    return given
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder on the path; `folder(text)` makes a module there, and gives its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(text, *, name=None, pipeline="mine"):
        module = name or f"mine_{uuid4().hex[:8]}"
        (tmp_path / f"{module}.py").write_text(PIPELINE.format(name=pipeline) + text)
        return module

    write.path = tmp_path
    return write


def package(folder: Path, entries: dict[str, str], name: str = "somebodys-package"):
    """An installed package, as far as Python's own metadata go."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"[{group}]\n{line}\n" for group, line in entries.items()]
    (info / "entry_points.txt").write_text("".join(lines))


@pytest.mark.parametrize(
    "listed", ["[body]", "(body,)", "body", "{('mine', 1): body}", "iter([body])"]
)
def test_a_module_lists_pipelines_in_whatever_is_natural(folder, listed):
    found = find([folder(f"PIPELINES = {listed}\n")], packages=False)

    assert list(found.usable()) == [("mine", 1)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it lists nothing: end it with PIPELINES or TOOLS = [...]"),
        ("PIPELINES = [print]\n", "which no @pipeline has made"),
        ("TOOLS = [body]\n", "which no @tool has made"),
        ("PIPELINES = {('mine', 2): body}\n", "as ('mine', 2)"),
        ("import sys; sys.exit(3)\n", "it ends the process while it is imported"),
        ("1 / 0\n", "ZeroDivisionError while it is imported"),
        ("PIPELINES = [body\n", "SyntaxError while it is imported"),
    ],
)
def test_what_was_named_and_cannot_be_used_is_a_sentence_with_its_place(folder, text, told):
    name = folder(text)

    with pytest.raises(ValueError, match="cannot be used") as wrong:
        find([name], packages=False).usable()

    assert name in str(wrong.value)
    assert told in str(wrong.value)
    assert f"{name}.py:" in str(wrong.value)


def test_a_module_that_is_not_there_is_told_with_what_to_do():
    with pytest.raises(ValueError, match=r"there is no module nowhere_at_all here.*PYTHONPATH"):
        find(["nowhere_at_all.greetings"], packages=False).usable()


@pytest.mark.parametrize(
    ("path", "name"), [("greetings.py", "greetings"), ("./mine/greetings.py", "mine.greetings")]
)
def test_whoever_says_a_path_is_told_the_name(path, name):
    with pytest.raises(ValueError, match=f"the module's name, such as {name}$"):
        find([path], packages=False).usable()


def test_the_place_is_the_authors_line_and_none_of_ours_or_of_a_library(folder):
    wrong_tool = folder(
        "from tools.tool import Effect, tool\n"
        "@tool('x', effect=Effect.WRITE, timeout_s=1)\n"
        "async def x(args: Given, call: Given) -> Given: ...\n"
    )
    wrong_value = folder("Given(n='no number')\n")

    one, two = find([wrong_tool, wrong_value], packages=False).broken
    assert one.place.endswith(f"{wrong_tool}.py:11")
    assert two.place.endswith(f"{wrong_value}.py:10")
    assert not one.told.startswith("there is no module")


def test_two_pipelines_of_one_name_are_no_catalogue_and_both_are_named(folder):
    one, two = folder("PIPELINES = [body]\n"), folder("PIPELINES = [body]\n")

    with pytest.raises(ValueError, match=f"{two} .*mine version 1, and so does {one}"):
        find([one, two], packages=False).usable()
    assert list(find([one, one], packages=False).usable()) == [("mine", 1)]


def test_a_package_brings_pipelines_and_tools_by_entry_point(folder):
    module = folder("HERE = [body]\nPIPELINES = []\n")
    package(folder.path, {"sluice.pipelines": f"mine = {module}:HERE"})

    assert ("mine", 1) in find([], packages=True).usable()
    assert find([], packages=False).usable() == {}


@pytest.mark.parametrize("text", ["import sys; sys.exit(0)\n", "import not_installed_here\n"])
def test_a_broken_package_is_left_out_and_told_and_the_worker_goes_on(folder, text):
    module = folder(text)
    package(folder.path, {"sluice.pipelines": f"mine = {module}"})

    structlog.reset_defaults()
    with capture_logs() as logs:
        usable = cli._catalogue(WorkerSettings())

    assert ("ticket-triage", 2) in usable
    (line,) = [each for each in logs if each["event"] == "catalogue.left_out"]
    assert "somebodys-package" in line["source"]
    assert "pip uninstall somebodys-package" in line["error"]


def test_a_package_that_takes_the_name_of_another_pipeline_stops_the_worker(folder, capsys):
    one = folder("PIPELINES = [body]\n", pipeline="ticket-triage")
    package(folder.path, {"sluice.pipelines": f"theirs = {one}"})

    with pytest.raises(typer.Exit):
        cli._catalogue(WorkerSettings())
    told = capsys.readouterr().err
    assert "ticket-triage version 1, and so does worker.pipelines" in told
    assert "somebodys-package" in told


def test_a_module_in_the_working_folder_is_found_and_stands_in_for_none_of_ours(
    folder, monkeypatch
):
    here = folder.path / "here"
    (here / "tools").mkdir(parents=True)
    (here / "tools" / "__init__.py").write_text("raise RuntimeError\n")
    (here / "only_here.py").write_text(PIPELINE.format(name="here") + "PIPELINES = [body]\n")
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", list(sys.path))

    assert list(find(["only_here"], packages=False).usable()) == [("here", 1)]
    assert sys.path[-1] == str(here)
