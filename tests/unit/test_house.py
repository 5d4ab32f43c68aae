"""House rules, as tests: what keeps the code readable is measured, not remembered."""

import ast
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("config", "models", "tools", "producer", "worker")
SOURCES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if "versions" not in path.parts
)
DRAWERS = {"utils", "helpers", "common", "core", "manager", "service", "misc"}
FILE_LINES, FILE_LINES_P90 = 250, 200
FUNCTION_LINES, FUNCTION_LINES_P90 = 50, 25
_EACH = pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def functions() -> list[tuple[str, int]]:
    return [
        (f"{path.relative_to(ROOT)}:{node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def p90(sizes: list[int]) -> float:
    return statistics.quantiles(sizes, n=10)[-1]


@_EACH
def test_a_file_fits_in_the_head(path):
    assert lines(path) < FILE_LINES


def test_nine_files_in_ten_are_small():
    assert p90([lines(path) for path in SOURCES]) <= FILE_LINES_P90


def test_a_function_fits_on_a_screen():
    assert [(name, size) for name, size in functions() if size >= FUNCTION_LINES] == []


def test_nine_functions_in_ten_are_small():
    assert p90([size for _, size in functions()]) <= FUNCTION_LINES_P90


@_EACH
def test_a_module_opens_with_a_sentence(path):
    docstring = ast.get_docstring(ast.parse(path.read_text()))

    assert docstring, "a module says in its first line what it is"
    assert docstring.splitlines()[0].endswith((".", ":"))


@_EACH
def test_no_file_is_a_drawer(path):
    assert path.stem not in DRAWERS


def test_only_transaction_commits():
    assert [str(path) for path in SOURCES if ".commit(" in path.read_text()] == []


def test_one_function_in_sql_says_which_day_it_is():
    told = [str(path) for path in SOURCES if "at time zone" in path.read_text().lower()]

    assert told == [], "spend_day() does, and a test may replace it"


def test_every_exception_to_a_rule_has_its_reason_beside_it():
    bare = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        for mark in ("# noqa", "# type: ignore")
        if mark in line and line.split(mark, 1)[1].count("#") == 0
    ]

    assert bare == []


def test_only_the_file_of_celery_speaks_of_celery():
    users = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if "import celery" in path.read_text() or "from celery" in path.read_text()
    }

    assert users == {"worker/app.py", "config/broker.py", "config/bell.py"}
