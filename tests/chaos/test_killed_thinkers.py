"""Workers struck at every request of a research and of a triage: to the database, to the model.

With SLUICE_TEST_LONG=1 every blow at every boundary; else where a model has answered and where the
ticket has been opened.
"""

import os
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
from tests.chaos.thinkers import _NOBODY, Thinkers, thinkers

ALL = os.environ.get("SLUICE_TEST_LONG") == "1"
NEAR = {
    "research": [Strike("POST /v1#2", Moment.ANSWERED)],
    "ticket-triage": [Strike("ticket#1", Moment.ANSWERED)],
}
LEAST = 14


@pytest.fixture(scope="module")
async def walks(servers: embedded.Servers) -> AsyncIterator[Thinkers]:
    folder = Path(tempfile.mkdtemp(prefix="sluice-think-"))
    try:
        async with thinkers(servers.database_url, folder) as it:
            yield it
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def chosen(path: str, boundaries: Sequence[Boundary]) -> list[Strike]:
    return strikes(boundaries) if ALL else NEAR[path]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", NEAR)
async def test_wherever_a_worker_is_struck_it_ends_well_with_one_effect_within_its_budget(
    path, walks
):
    boundaries = await walks.record(path)
    if ALL:
        assert await walks.record(path) == boundaries, "an undisturbed run takes one way"

    wrong, walked = [], Counter[str]()
    for strike in chosen(path, boundaries):
        for each in await walks.walk(path, strike):
            print("\n".join(lines((await journal.read(_NOBODY.record)).of(each.whose))))  # noqa: T201  # what happened
            wrong.append(f"{strike}: {each}")
        walked[f"{strike.blow} {strike.moment}"] += 1
    print(f"\n{path}: {walked.total()} strikes at {len(boundaries)} boundaries, {dict(walked)}")  # noqa: T201  # the figures are what one runs this for

    assert wrong == []
    assert len(boundaries) >= LEAST
