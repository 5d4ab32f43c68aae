"""A worker is killed, and its connections are cut, at every request that a run sends.

With SLUICE_TEST_LONG=1 every blow at every boundary, for all three effects; else of a WRITE alone
what lies around it and a sample by SLUICE_TEST_SEED.
"""

import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from config import embedded
from tests.chaos import journal
from tests.chaos.boundaries import Boundary, Moment, Strike, strikes
from tests.chaos.rows import lines
from tests.chaos.walker import PATHS, Walker, walker

ALL = os.environ.get("SLUICE_TEST_LONG") == "1"
SEED = int(os.environ.get("SLUICE_TEST_SEED", "0"))
SAMPLE = 8
NEAR = ("intend#1", "POST", "settle#1", "keep#", "commit of keep#")
"""Where a write is made, and where something is remembered."""
LEAST = 20
"""A path with fewer boundaries than this is not what it was: something is not seen any more."""


@pytest.fixture(scope="module")
async def walks(servers: embedded.Servers) -> AsyncIterator[Walker]:
    folder = Path(tempfile.mkdtemp(prefix="sluice-walk-"))
    try:
        async with walker(servers.database_url, folder) as it:
            yield it
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def chosen(path: str, boundaries: Sequence[Boundary]) -> list[Strike]:
    every = strikes(boundaries)
    if ALL:
        return every
    near = [each for each in every if each.label.startswith(NEAR)]
    rest = [each for each in every if each not in near]
    return near + random.Random(f"{SEED}:{path}").sample(rest, SAMPLE)  # noqa: S311  # repeatable


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "path", [PATHS[0], *(pytest.param(each, marks=pytest.mark.long) for each in PATHS[1:])]
)
async def test_whatever_a_worker_is_struck_at_the_run_ends_with_one_effect_for_each_write(
    path, walks
):
    walks.desk.set(dedupe=path == "path")
    boundaries = await walks.record(path)
    assert await walks.record(path) == boundaries, "an undisturbed run takes one way"
    asked = walks.reviewed

    wrong, walked = [], Counter[str]()
    for strike in chosen(path, boundaries):
        for each in await walks.walk(path, strike):
            print("\n".join(lines((await journal.read(walks.desk.record)).of(each.whose))))  # noqa: T201  # what happened
            wrong.append(f"{strike}: {each}")
        walked[f"{strike.blow} {strike.moment}"] += 1
    asked = walks.reviewed - asked
    print(f"\n{path}: {walked.total()} strikes at {len(boundaries)} boundaries, {dict(walked)}")  # noqa: T201  # the figures are what one runs this for
    print(f"{path}: a person was asked {asked} times whether a write had happened")  # noqa: T201  # as above

    assert wrong == []
    assert len(boundaries) >= LEAST
    assert (asked > 0) == (path == "path-blind")
    if ALL:
        for moment in (Moment.BEFORE, Moment.ANSWERED, Moment.AFTER):
            assert walked[f"SIGKILL {moment}"] >= len(boundaries)
