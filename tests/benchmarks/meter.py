"""The meter: whose CPU time went where while something was measured, read from /proc."""

import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE = {3, 4}
"""The columns of /proc/stat in which a core does nothing: idle and iowait."""


class Meter:
    """Wall clock and CPU seconds of named processes and their children, and of everybody else.

    `foreign_percent` is what neither they nor this process used, in percent of ONE core.
    """

    def __init__(self, processes: Mapping[str, int]) -> None:
        self._processes = {"client": os.getpid(), **processes}
        self.cpu_s: dict[str, float] = {}
        self.wall_s = 0.0
        self.foreign_percent = 0.0

    @contextmanager
    def running(self) -> Iterator["Meter"]:
        """Measure while the block runs; the processes must outlive it."""
        before, busy, started = self._now(), busy_s(), time.monotonic()
        yield self
        self.wall_s = time.monotonic() - started
        busy = busy_s() - busy
        self.cpu_s = {name: used - before[name] for name, used in self._now().items()}
        self.foreign_percent = max(0.0, 100 * (busy - sum(self.cpu_s.values())) / self.wall_s)

    def _now(self) -> dict[str, float]:
        used, children = _processes()
        ours = {pid for name, pid in self._processes.items() if name != "client"}
        return {
            name: _tree(pid, used, children, without=ours - {pid})
            for name, pid in self._processes.items()
        }


def python_speed() -> float:
    """Million rounds of a loop per CPU second: what this core gives to Python right now."""
    rounds = 400_000
    started = time.process_time()
    for _ in range(rounds):
        pass
    return rounds / 1e6 / (time.process_time() - started)


def cpu_s(pid: int) -> float:
    """CPU seconds of one process, its threads included, its children not."""
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def peak_rss_mb(pid: int) -> float:
    """The most memory that a process ever had resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise LookupError(f"process {pid} has no memory of its own")


def busy_s() -> float:
    """Seconds that all cores together have worked since boot, stolen ones included."""
    line = Path("/proc/stat").read_text().partition("\n")[0]
    columns = [int(word) for word in line.split()[1:9]]
    return sum(ticks for place, ticks in enumerate(columns) if place not in _IDLE) / _TICKS


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@contextmanager
def on_one_core(*, pinned: bool) -> Iterator[None]:
    """Keep this thread, and all processes it starts meanwhile, on the last core."""
    cores = os.sched_getaffinity(0)
    if pinned:
        os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _processes() -> tuple[dict[int, float], dict[int, list[int]]]:
    """CPU seconds of every process, with those of its dead children; and who its living are."""
    used: dict[int, float] = {}
    children: defaultdict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        pid = int(entry.name)
        used[pid] = sum(map(int, fields[11:15])) / _TICKS
        children[int(fields[1])].append(pid)
    return used, children


def _tree(
    pid: int, used: Mapping[int, float], children: Mapping[int, list[int]], *, without: set[int]
) -> float:
    below = [each for each in children.get(pid, ()) if each not in without]
    return used[pid] + sum(_tree(each, used, children, without=without) for each in below)
