"""The report: medians with their ranges, the targets beside, and raw Celery's figure."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.lab import Values

FOREIGN_PERCENT = 20
"""A sample during which others used more than this of one core is marked."""
SLOW = 0.85
"""So is one taken while Python ran slower than this share of its median speed in this run."""


@dataclass(frozen=True)
class Sample:
    """One measurement, once."""

    name: str
    pinned: bool
    round: int
    values: Values
    python_speed: float

    def noisy(self, usual_speed: float) -> bool:
        foreign = self.values["foreign_percent"] > FOREIGN_PERCENT
        return foreign or self.python_speed < SLOW * usual_speed


@dataclass(frozen=True)
class Row:
    """One line of the table: a figure, its targets, and whose figure to divide it by."""

    title: str
    name: str
    value: str
    unit: str
    now: float | None = None
    later: float | None = None
    less_is_better: bool = False
    beside: str | None = None
    times: float | None = None
    """How many times the figure beside it is the target."""

    def reached(self, figure: float) -> bool:
        assert self.now is not None
        return figure <= self.now if self.less_is_better else figure >= self.now


_less = partial(Row, less_is_better=True)

ROWS = (
    Row("HTTP accept, 16 connections", "http-16", "per_s", "/s", 2500, 4000, beside="celery-send"),
    Row("HTTP accept, 64 connections", "http-64", "per_s", "/s", 2500, 4000, beside="celery-send"),
    Row("  CPU of the API per request", "http-64", "cpu_us", "us"),
    Row("bulk accept, 500 a body", "bulk", "per_s", "/s", beside="celery-send"),
    Row("broker accept, into rows", "broker", "per_s", "/s", beside="celery-send"),
    Row("no-op runs", "noop", "per_s", "/s", 3000, 10_000, beside="celery-drain", times=2),
    Row("  CPU of the worker per run", "noop", "cpu_us", "us", beside="celery-drain"),
    Row("  CPU of PostgreSQL per run", "noop", "postgres_us", "us"),
    Row("runs of five READ steps", "reads", "per_s", "/s"),
    Row("  READ steps", "reads", "steps_per_s", "/s", 4000, 15_000),
    Row("  CPU of the worker per step", "reads", "step_cpu_us", "us"),
    Row("  CPU of PostgreSQL per step", "reads", "step_postgres_us", "us"),
    Row("runs of five WRITE steps", "writes", "per_s", "/s"),
    Row("  WRITE steps", "writes", "steps_per_s", "/s", 2000, 5000),
    Row("  CPU of the worker per step", "writes", "step_cpu_us", "us"),
    Row("  CPU of PostgreSQL per step", "writes", "step_postgres_us", "us"),
    _less("gateway alone, one READ", "gateway", "read_us", "us", 40),
    _less("gateway alone, one WRITE", "gateway", "write_us", "us", 40),
    _less("submit to finished, p50", "latency", "p50_ms", "ms", 10, beside="celery-latency"),
    Row("submit to finished, p99", "latency", "p99_ms", "ms", beside="celery-latency"),
    Row("accepted to started, p50", "latency", "started_p50_ms", "ms"),
    Row("accepted to started, p99", "latency", "started_p99_ms", "ms"),
    Row("  one commit here, p50", "latency", "commit_p50_ms", "ms"),
    _less("500 runs that wait 1 s", "waits", "seconds", "s", 1.3, beside="celery-waits"),
    _less("worker's peak memory", "noop", "rss_mb", "MB", 200, beside="celery-drain"),
    _less("  with WRITE steps", "writes", "rss_mb", "MB", 200),
)


def show(samples: Sequence[Sample], console: Console) -> None:
    """Print what was measured, and say how far it can be trusted."""
    table = Table(title="Sluice on this machine: median [min-max]", title_justify="left")
    table.add_column("what")
    for kind in ("unpinned", "pinned"):
        table.add_column(kind, justify="right")
        table.add_column("Celery", justify="right", style="dim")
        table.add_column("ratio", justify="right")
    table.add_column("target", justify="right")
    table.add_column("to come", justify="right")
    for row in ROWS:
        if any(each.name == row.name for each in samples):
            cells = [
                cell for pinned in (False, True) for cell in _cells(row, samples, pinned=pinned)
            ]
            table.add_row(row.title, *cells, _target(row), _number(row.later))
    console.print(table)
    usual = statistics.median(each.python_speed for each in samples)
    noisy = sum(each.noisy(usual) for each in samples)
    console.print(
        f"{noisy} of {len(samples)} samples are noisy: others used over {FOREIGN_PERCENT} % of one"
        f" core, or Python ran below {SLOW:.0%} of its median speed."
    )


def document(samples: Sequence[Sample], facts: dict[str, Any]) -> dict[str, Any]:
    """Everything that was measured, for a machine to read."""
    usual = statistics.median([each.python_speed for each in samples] or [0])
    return {
        "facts": facts,
        "samples": [asdict(each) | {"noisy": each.noisy(usual)} for each in samples],
        "medians": [
            {
                "title": row.title.strip(),
                "name": row.name,
                "value": row.value,
                "unit": row.unit,
                "pinned": pinned,
                "median": statistics.median(figures),
                "target": row.now,
                "to_come": row.later,
                "reached": row.reached(statistics.median(figures)) if row.now else None,
                "ratio_to_celery": _ratio(row, samples, pinned=pinned),
            }
            for row in ROWS
            for pinned in (False, True)
            if (figures := _figures(samples, row.name, row.value, pinned=pinned))
        ],
    }


def _figures(samples: Sequence[Sample], name: str, value: str, *, pinned: bool) -> list[float]:
    wanted = (each for each in samples if (each.name, each.pinned) == (name, pinned))
    return [each.values[value] for each in wanted if value in each.values]


def _ratio(row: Row, samples: Sequence[Sample], *, pinned: bool) -> float | None:
    """The median of each round's own ratio: what slowed a round down slowed both."""
    if row.beside is None:
        return None
    by_round = {
        (each.round, each.name): each.values.get(row.value)
        for each in samples
        if each.pinned is pinned
    }
    ratios = [
        ours / theirs
        for (number, name), ours in by_round.items()
        if name == row.name and ours and (theirs := by_round.get((number, row.beside)))
    ]
    return statistics.median(ratios) if ratios else None


def _cells(row: Row, samples: Sequence[Sample], *, pinned: bool) -> tuple[str, str, str]:
    figures = _figures(samples, row.name, row.value, pinned=pinned)
    if not figures:
        return "", "", ""
    median = statistics.median(figures)
    told = f"{_number(median)} {row.unit}"
    if len(figures) > 1:
        told = f"{told} [{_number(min(figures))}-{_number(max(figures))}]"
    if row.now is not None:
        told = f"[green]{told} ok[/]" if row.reached(median) else f"[red]{told} --[/]"
    beside = _figures(samples, row.beside, row.value, pinned=pinned) if row.beside else []
    ratio = _ratio(row, samples, pinned=pinned)
    shown = f"{ratio:.2f}" if ratio is not None else ""
    if row.times is not None and ratio is not None:
        shown = f"[{'green' if ratio >= row.times else 'red'}]{shown}[/]"
    return told, _number(statistics.median(beside)) if beside else "", shown


def _target(row: Row) -> str:
    told = _number(row.now)
    return f"{told}, {row.times:g} x Celery" if row.times is not None else told


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
