"""How far a triage has come, live: a bar on a terminal, now and then a line elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from producer.tables import plain
from producer.triage import Course, Outcome

_LINE_EVERY_S = 2.0
_ALWAYS = (Outcome.ANSWERED, Outcome.TO_REVIEW, Outcome.FAILED)
_COLOURS = {
    Outcome.ANSWERED: "green",
    Outcome.TO_REVIEW: "yellow",
    Outcome.FAILED: "red",
    Outcome.REFUSED: "red",
}


class Display:
    """Says what goes on; on a terminal it draws, into a file or a pipe it writes plain lines."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.note = ""
        """What holds things up, while something does."""

    @contextmanager
    def phase(self, told: str) -> Iterator[None]:
        """Tell what is being waited for, and how long it took."""
        started = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(told):
                yield
        else:
            yield
        self.say(f"{told}: {time.monotonic() - started:.1f} s")

    def say(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def counting(self) -> Iterator[Callable[[Course], None]]:
        """Give a function to call with the course whenever it may have moved."""
        if self._console.is_terminal:
            with self._bar() as show:
                yield show
        else:
            yield self._lines()

    @contextmanager
    def _bar(self) -> Iterator[Callable[[Course], None]]:
        bar = Progress(
            TextColumn("triage"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            expand=True,
        )
        task = bar.add_task("triage", total=None)
        with Live(bar, console=self._console, refresh_per_second=8) as live:

            def show(course: Course) -> None:
                bar.update(task, total=course.total, completed=course.settled)
                note = [Text(self.note, style="yellow")] if self.note else []
                live.update(Group(bar, _counts(course), *note))

            yield show

    def _lines(self) -> Callable[[Course], None]:
        last_told, last_at = "", time.monotonic()

        def show(course: Course) -> None:
            nonlocal last_told, last_at
            over = course.asked and not course.open
            if not over and time.monotonic() - last_at < _LINE_EVERY_S:
                return
            line = f"{course.settled}/{course.total}: {_counts(course).plain}"
            line += f"; {self.note}" if self.note and not over else ""
            if line != last_told:
                self.say(f"{line}; {course.seconds:.0f} s")
            last_told, last_at = line, time.monotonic()

        return show


def _counts(course: Course) -> Text:
    parts = []
    for outcome in Outcome:
        count = course.outcomes[outcome]
        if count or outcome in _ALWAYS:
            style = _COLOURS.get(outcome, "") if count else "dim"
            parts.append((f"{plain(told(outcome))} {count:,}", style))
    parts.append((f"already known {course.known:,}", "" if course.known else "dim"))
    return Text(", ").join([Text(text, style=style) for text, style in parts])


def told(outcome: Outcome) -> str:
    """In words: `to review`."""
    return outcome.replace("_", " ")
