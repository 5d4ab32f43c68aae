"""A worker is killed, and cut off, at every request of a cost alert: one snapshot, one stop.

With SLUICE_TEST_LONG=1 every blow at every boundary, also of a run that takes its stop back; else a
few where the cloud is changed.
"""

import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from config import embedded
from tests.chaos.boundaries import strikes
from tests.chaos.cloud_walker import KEPT, TAKEN_BACK, CloudWalker, cloud_walker

ALL = os.environ.get("SLUICE_TEST_LONG") == "1"
SEED = int(os.environ.get("SLUICE_TEST_SEED", "0"))
SAMPLE = 3
LEAST = 20
"""A path with fewer boundaries than this is not what it was: something is not seen any more."""


@pytest.fixture(scope="module")
async def walks(servers: embedded.Servers) -> AsyncIterator[CloudWalker]:
    folder = Path(tempfile.mkdtemp(prefix="sluice-cloud-"))
    try:
        async with cloud_walker(servers.database_url, folder) as it:
            yield it
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", [KEPT, pytest.param(TAKEN_BACK, marks=pytest.mark.long)])
async def test_whatever_a_worker_is_struck_at_the_cloud_has_one_snapshot_and_one_stop(path, walks):
    boundaries = await walks.boundaries(path)
    every = strikes(boundaries)
    near = [each for each in every if each.label.startswith("POST")]
    chosen = every if ALL else random.Random(f"{SEED}:{path}").sample(near, SAMPLE)  # noqa: S311  # repeatable

    wrong, walked = [], Counter[str]()
    for strike in chosen:
        wrong += await walks.strike(path, strike)
        walked[f"{strike.blow} {strike.moment}"] += 1
    print(f"\n{path}: {walked.total()} strikes at {len(boundaries)} boundaries, {dict(walked)}")  # noqa: T201  # the figures are what one runs this for

    assert wrong == []
    assert len(boundaries) >= LEAST
