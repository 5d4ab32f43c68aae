"""Take every guard out, one at a time, in a copy of the tree, and see a test go red.

A mutant that no test notices survives: then either the guard is not needed or nobody proves it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console

from tests.mutants.catalogue import MUTANTS, Mutant

TREE = Path(__file__).parents[2]
_TIMEOUT_S = 240
_RED, _NOTHING_RAN = 1, {2, 3, 4, 5}
"""pytest's exit codes: a test failed; it could not start, or found nothing."""


def main() -> int:
    """Go through the mutants; exit 1 when one survives, 2 when one could not be tried."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutants that have one of these in them")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--list", action="store_true", help="print the table of the guarantees")
    asked = parser.parse_args()
    chosen = [m for m in MUTANTS if not asked.words or any(w in " ".join(m) for w in asked.words)]
    if asked.list:
        print("\n".join(table(chosen)))  # noqa: T201  # what was asked for
        return 0
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="sluice-mutants-") as folder:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(asked.jobs):
            trees.put(_copy(Path(folder) / str(number)))

        def attempt(mutant: Mutant) -> int:
            tree = trees.get()
            try:
                return _try(mutant, tree, console)
            finally:
                trees.put(tree)

        with ThreadPoolExecutor(asked.jobs) as pool:
            codes = list(pool.map(attempt, chosen))
    killed = codes.count(_RED)
    console.print(f"{killed} of {len(chosen)} mutants were noticed")
    return 2 if any(code in _NOTHING_RAN for code in codes) else int(killed < len(chosen))


def table(mutants: Sequence[Mutant]) -> list[str]:
    """As it stands in docs/guarantees.md."""
    rows = [
        f"| {m.promise} | {m.removed} | `{m.file}` | `{m.test.partition('::')[2]}` |"
        for m in mutants
    ]
    return ["| | guard removed | in | goes red |", "|---|---|---|---|", *rows]


def mutated(text: str, mutant: Mutant) -> str:
    """The file without the guard.

    Raises:
        ValueError: The guard does not stand there exactly once.
    """
    if text.count(mutant.guard) != 1:
        raise ValueError(f"{mutant.file} has {text.count(mutant.guard)} x {mutant.guard!r}")
    return text.replace(mutant.guard, mutant.without)


def _copy(folder: Path) -> Path:
    unneeded = shutil.ignore_patterns(".*", "__pycache__", "out", "wheelhouse", "*.egg-info")
    shutil.copytree(TREE, folder, ignore=unneeded)
    return folder


def _try(mutant: Mutant, tree: Path, console: Console) -> int:
    place = tree / mutant.file
    sound = place.read_text()
    place.write_text(mutated(sound, mutant))
    started = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutant.test],
            cwd=tree,
            env=os.environ | {"PYTHONPATH": str(tree)},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        code, told = done.returncode, done.stdout[-2000:]
    except subprocess.TimeoutExpired:
        code, told = _RED, ""  # a run that never ends is noticed too
    finally:
        place.write_text(sound)
    word = {0: "SURVIVED", _RED: "noticed"}.get(code, "NOT TRIED")
    console.print(
        f"{word:9}  {time.monotonic() - started:4.0f} s  {mutant.promise:2}  {mutant.removed}"
    )
    if code in _NOTHING_RAN:
        console.print(told, markup=False)
    return code


if __name__ == "__main__":
    sys.exit(main())
