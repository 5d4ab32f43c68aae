"""Safe mode over a whole fleet: shut in the midst of work, restarted behind it, opened again."""

import asyncio
import os
import signal
import time

import pytest

from models.database import hot
from models.gate import GateMode, flip
from models.run import StopReason
from models.scope import FLEET
from models.standstill import drained
from tests.chaos.orders import order, straight_in
from tests.conftest import finished, fleet_of, until
from tests.desk import started_desk
from tests.proxy import proxied
from worker.gatekeeper import LOOK_S
from worker.sweeper import FIRST_COHORT

_UNDER_WAY = "SELECT count(*) FROM run WHERE status IN ('queued', 'running')"
_LIVING = "SELECT count(*) FROM worker WHERE last_seen > now() - interval '2 s'"


@pytest.fixture
def desk(tmp_path):
    """A desk that does not mind a repeat: whatever is sent twice is there twice."""
    with started_desk(tmp_path / "desk", dedupe=False, latency_s=0.02) as desk:
        yield desk


@pytest.mark.parametrize("count", [400, pytest.param(5000, marks=pytest.mark.long)])
async def test_shut_in_the_midst_restarted_and_opened_every_run_ends_once_and_no_herd_comes(
    fleet, desk, count
):
    send = straight_in()
    pipelines = ("file-ticket-once", "file-ticket-blind")
    orders = [order(f"T-{n}", pipelines[n % 2]) for n in range(count)]
    settings = {
        "TEST_DESK_URL": desk.url,
        "WORKER__CATALOGUES": '["tests.desk_pipelines"]',
        "WORKER__LEASE_S": "3",
        "WORKER__HEARTBEAT_S": "1",
    }
    first = fleet.workers(2, **settings, WORKER__ROOM="32")
    await until(lambda: hot().fetchval(f"SELECT ({_LIVING}) = 2"))
    await asyncio.gather(*(send(each) for each in orders))
    await until(lambda: _opened(desk, count // 10))

    await flip(FLEET, GateMode.READ_ONLY, who="ada", reason="the desk is broken")
    found = await drained(FLEET, time.monotonic())
    before = len(desk.record.requests())
    for each in first:
        os.kill(each.pid, signal.SIGKILL)
    fleet.workers(2, **settings)
    await until(lambda: hot().fetchval(f"SELECT ({_UNDER_WAY}) = 0"), within_s=60)
    parked = await hot().fetchval("SELECT count(*) FROM run WHERE waiting_for = 'gate'")

    assert found.in_doubt == [], "every write that had left was answered"
    assert len(desk.record.requests()) == before, "nothing was sent behind the gate"
    assert parked > count / 3

    opened = time.time()
    await flip(FLEET, GateMode.OPEN, who="ada", reason="the desk is well")
    await until(lambda: finished(count), within_s=120)

    rows = await hot().fetch("SELECT stop_reason, crashes FROM run")
    assert {row["stop_reason"] for row in rows} == {StopReason.SUCCESS}
    assert max(row["crashes"] for row in rows) <= 1, "parking counts no crash; the kill may"
    effects = desk.record.effects()
    assert (len(effects), set(effects.values())) == (count, {1})
    came = [each.at - opened for each in desk.record.requests() if each.at > opened]
    for second in range(1, 5):
        herd = sum(at <= second for at in came)
        assert herd <= FIRST_COHORT * 2 ** (second + 2), f"{herd} within {second} s"


async def _opened(desk, count):
    return len(desk.record.tickets()) >= count


async def test_behind_a_closed_gate_nothing_is_claimed_and_in_safe_mode_half_as_much(
    submit, fleet, tmp_path
):
    (tmp_path / "policy.yaml").write_text("safe_mode: {allowed_tools: ['probe.wait']}")
    fleet.workers(1, WORKER__ROOM="8", POLICY=str(tmp_path / "policy.yaml"))
    await until(lambda: hot().fetchval(f"SELECT ({_LIVING}) = 1"))
    await flip(FLEET, GateMode.CLOSED, who="ada", reason="a test")
    await asyncio.sleep(LOOK_S)  # a notice may be lost, a look may not
    for _ in range(20):
        await submit("wait", {"seconds": 3})

    await asyncio.sleep(1.5)
    closed = await hot().fetchval("SELECT count(*) FROM run WHERE attempt > 0")
    await flip(FLEET, GateMode.READ_ONLY, who="ada", reason="a test")
    await until(lambda: hot().fetchval("SELECT count(*) > 0 FROM run WHERE status = 'running'"))
    await asyncio.sleep(0.5)
    safe = await hot().fetchval("SELECT count(*) FROM run WHERE status = 'running'")

    assert (closed, safe) == (0, 3), "of eight places half, and one of those is for newcomers"


async def test_while_postgres_is_away_no_call_of_any_kind_starts_and_then_all_go_on(
    database, desk, tmp_path
):
    send, count = straight_in(), 20
    orders = [order(f"L-{n}", "look-later") for n in range(count)]
    async with proxied(database, tmp_path) as (proxy, through):
        with fleet_of(through, None, tmp_path) as fleet:
            settings = {"TEST_DESK_URL": desk.url}
            fleet.workers(1, WORKER__CATALOGUES='["tests.desk_pipelines"]', **settings)
            await until(lambda: hot().fetchval(f"SELECT ({_LIVING}) = 1"))
            await asyncio.gather(*(send(each) for each in orders))
            await until(lambda: hot().fetchval(
                "SELECT count(*) = $1 FROM run WHERE status = 'running'", count
            ))  # fmt: skip

            await proxy.shut()
            await asyncio.sleep(4 + LOOK_S)  # when the last of them has long wanted to look
            looked = desk.record.listings()
            await proxy.open()
            await until(lambda: finished(count), within_s=60)
            await asyncio.to_thread(fleet.stop)  # its way leads over this loop

    assert looked == 0, "each wanted to look after four seconds"
    assert desk.record.listings() >= count
    rows = await hot().fetch("SELECT DISTINCT stop_reason, crashes FROM run")
    assert [tuple(row) for row in rows] == [("success", 0)]
