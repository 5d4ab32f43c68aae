"""A target that is slow, deaf, or gone in the midst of an answer: one effect for each ticket."""

import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from models.database import hot
from models.review import Verdict
from models.verdict import answer
from tests.chaos.orders import BLIND, PIPELINES, Load, all_over, history, order, straight_in, wrongs
from tests.conftest import Fleet, until
from tests.desk import Desk, started_desk
from tests.proxy import Fate, PortProxy, port_proxied

ROUNDS = 2
FATES: tuple[Fate | None, ...] = (None, *Fate)
_ASKED = re.compile(rb'"external_ref":"(file-ticket[a-z-]*)-(\d+)"')


@dataclass
class Unfair:
    """The first request to open a ticket meets the fate of its number; each third look is lost."""

    met: Counter[tuple[str, Fate]] = field(default_factory=Counter)
    looks: int = 0
    _known: set[bytes] = field(default_factory=set)

    def __call__(self, data: bytes) -> Fate | None:
        if data.startswith(b"GET "):
            self.looks += 1
            return Fate.RESET_AFTER if self.looks % 3 == 1 else None
        asked = _ASKED.search(data)
        if asked is None or asked[0] in self._known:
            return None
        self._known.add(asked[0])
        fate = fate_of(int(asked[2]))
        if fate is not None:
            self.met[asked[1].decode(), fate] += 1
        return fate


def fate_of(number: int) -> Fate | None:
    return FATES[number % len(FATES)]


@pytest.fixture
def desk(tmp_path: Path) -> Any:
    with started_desk(tmp_path / "desk", dedupe=True) as desk:
        yield desk


@pytest.fixture
async def line(desk: Desk, fleet: Fleet) -> AsyncIterator[PortProxy]:
    """Between a worker and the desk; every answer takes its time."""
    async with port_proxied(desk.url) as (line, url):
        line.delay_s = (0.0, 0.3)
        fleet.workers(
            1,
            WORKER__CATALOGUES='["tests.desk_pipelines"]',
            WORKER__SEND_BEFORE_S="0.5",
            TEST_DESK_URL=url,
        )
        await until(lambda: hot().fetchval("SELECT count(*) FROM worker"))
        yield line


async def test_whatever_happens_on_the_way_each_ticket_is_opened_once_and_the_blind_ask(
    line, desk, database
):
    line.fate_of = unfair = Unfair()
    load = Load(straight_in())
    for number in range(ROUNDS * len(FATES)):
        load.sent += [order(f"{pipeline}-{number}", pipeline) for pipeline in PIPELINES]

    for each in load.sent:
        await load.send(each)
    await until(lambda: all_over(load), within_s=60)

    assert wrongs(await history(), desk.record) == []
    assert unfair.met == {(name, fate): ROUNDS for name in PIPELINES for fate in Fate}
    assert unfair.looks > ROUNDS * len(Fate), "no look was lost"
    asked = {row["key"] for row in await history() if row["status"] == "waiting"}
    assert asked == {f"{BLIND}-{n}" for n in range(ROUNDS * len(FATES)) if fate_of(n)}

    await somebody_looks_and_answers(desk)
    await until(lambda: nobody_waits(load))

    assert wrongs(await history(), desk.record) == []
    assert desk.record.effects() == {request.key: 1 for request in load.sent}


async def somebody_looks_and_answers(desk: Desk) -> None:
    """Yes with the ticket that is there, and no for those that never came."""
    opened = {ticket.external_ref: ticket for ticket in desk.record.tickets()}
    for review, key in await hot().fetch(
        "SELECT r.id, k.key FROM review r JOIN request_key k USING (run_id) WHERE verdict IS NULL"
    ):
        if key in opened:
            value = {"id": str(opened[key].id), "external_ref": key}
            await answer(review, Verdict.EDITED, who="ann", value=value)
        else:
            await answer(review, Verdict.APPROVED, who="ann")


async def nobody_waits(load: Load) -> bool:
    return await all_over(load) and all(r["status"] == "finished" for r in await history())
