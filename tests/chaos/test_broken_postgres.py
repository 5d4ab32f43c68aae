"""PostgreSQL as it is on bad nights, under load: one fleet of two lives through all of them."""

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from config import embedded
from config.embedded.home import find
from config.embedded.postgres import Postgres
from models.database import hot
from tests.chaos.night import OUTAGE_S, Night, bad_night, turn_stamps
from tests.conftest import lacking, until
from tests.proxy import Fate, Proxy, every

EXECUTED = b"\x00__asyncpg_stmt"
"""In what binds a prepared statement and runs it, as all batched verbs are."""
TWO_HOURS = timedelta(hours=2)
_FULL = "DiskFullError"
END_OURS = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'sluice'
"""
TABLES = ("run", "ledger_entry", "review", "worker", "request_key")
NOTHING_DUE = """
    SELECT count(*) = 0 FROM run
     WHERE status = 'running' OR (status = 'queued' AND dispatch_at <= now())
"""


@pytest.fixture(scope="module")
async def night(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Night]:
    async with bad_night(tmp_path_factory.mktemp("night")) as night:
        yield night


async def slow_answers(night: Night) -> int:
    for proxy in night.proxies:
        proxy.delay_s = (0.05, 0.2)
    await asyncio.sleep(2.5)
    for proxy in night.proxies:
        proxy.delay_s = (0.0, 0.0)
    return sum(proxy.delayed for proxy in night.proxies)


async def lost_answers(night: Night) -> int:
    """Every 15th statement is done, and nobody hears of it."""
    for proxy in night.proxies:
        proxy.fate_of = every(15, EXECUTED, Fate.RESET_AFTER)
    await asyncio.sleep(2.5)
    for proxy in night.proxies:
        proxy.fate_of = None
    return sum(proxy.met.total() for proxy in night.proxies)


async def sessions_ended(night: Night) -> int:
    ended = 0
    async with night.somebody() as other:
        for _ in range(10):
            ended += await other.fetchval(END_OURS)
            await asyncio.sleep(0.2)
    return ended


async def no_connection_left(night: Night) -> int:
    """Somebody has them all; whoever of ours must connect again is told to go away."""
    before = night.logged("TooManyConnectionsError")
    async with AsyncExitStack() as others:
        first = await others.enter_async_context(night.somebody())
        for _ in range(2):  # what we give up the first time, ours may be quick to take
            await first.fetchval(END_OURS)
            with suppress(asyncpg.TooManyConnectionsError):
                while True:
                    await others.enter_async_context(night.somebody())
        await asyncio.sleep(1.5)
    return night.logged("TooManyConnectionsError") - before


async def restarts(night: Night) -> int:
    """A fast one, an immediate one, and the postmaster killed: the last two must recover."""
    started = set()
    for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        os.kill(postmaster(night) or 0, how)
        while postmaster(night) is not None:
            await asyncio.sleep(0.02)
        await asyncio.to_thread(embedded.start, night.folder)
        async with night.somebody() as other:
            started.add(await other.fetchval("SELECT pg_postmaster_start_time()"))
        await asyncio.sleep(0.7)
    return len(started)


def postmaster(night: Night) -> int | None:
    home = find(night.folder)
    return Postgres(home).pid() if home else None


async def a_server_that_stands_still(night: Night) -> int:
    async with night.somebody() as other:
        pids = [row[0] for row in await other.fetch("SELECT pid FROM pg_stat_activity")]
        pids.append(postmaster(night))
        before = night.logged("run.lease_ran_out")
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(OUTAGE_S)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    return night.logged("run.lease_ran_out") - before


async def a_black_hole(night: Night) -> int:
    return await _frozen(night, night.proxies)


async def a_black_hole_for_one(night: Night) -> int:
    return await _frozen(night, night.proxies[:1])


async def _frozen(night: Night, proxies: list[Proxy]) -> int:
    before = night.logged("run.lease_ran_out")
    for proxy in proxies:
        proxy.freeze()
    await asyncio.sleep(OUTAGE_S)
    for proxy in proxies:
        proxy.thaw()
    return night.logged("run.lease_ran_out") - before


async def locked_rows_and_a_locked_table(night: Night) -> int:
    """Somebody idles in a transaction; ours wait, give up after 10 s, and come again."""
    async with night.somebody() as other:
        async with other.transaction():
            await other.execute("SELECT id FROM run WHERE status <> 'finished' FOR UPDATE")
            await asyncio.sleep(1.5)
        async with other.transaction():
            await other.execute("LOCK TABLE run IN ACCESS EXCLUSIVE MODE")
            await asyncio.sleep(10.5)
    return night.logged("LockNotAvailable")


async def a_clock_two_hours_ahead(night: Night) -> int:
    """And back. It is not the clock that moves, but every stamp in the tables, the other way."""
    moved = await turn_stamps(-TWO_HOURS, *TABLES)
    await asyncio.sleep(3)
    await turn_stamps(TWO_HOURS, *TABLES)
    return moved


@contextmanager
def small_disk(owner: int) -> Iterator[Path]:
    """A file system of 24 MB; only root may have one."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size=24m,mode=0700,uid={owner}", "none", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        folder.rmdir()
        lacking("mount", "a disk that is full is made of a small one, which only root can mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


async def a_full_disk(night: Night) -> int:
    """The tables move to a small disk, which somebody fills; and back, when it is empty again."""
    before = night.logged(_FULL)
    with (
        small_disk((night.folder / "servers" / "pg").stat().st_uid) as disk,
        capture_logs() as admitting,
    ):
        async with night.somebody() as other:
            await other.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
            await move(other, "pg_default", "small")
            try:
                await other.execute("VACUUM FULL run, ledger_entry, request_key")  # no room inside
                with (disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
                    while True:
                        ballast.write(bytes(8192))
                await until(lambda: met_by_ours(night, before, admitting))
                await asyncio.sleep(3)
            finally:
                (disk / "ballast").unlink()
                await move(other, "small", "pg_default")
            await other.execute("DROP TABLESPACE small")
    return await met_by_ours(night, before, admitting)


async def met_by_ours(night: Night, before: int, admitting: Sequence[Mapping[str, Any]]) -> int:
    """How often ours have met it: until their pages are full they get along with what they have.
    Whoever admits, in this process, may meet it first, and then the workers have no work to."""
    admitted = sum(_FULL in str(line) for line in admitting)
    return night.logged(_FULL) - before + admitted


async def move(other: "asyncpg.Connection[asyncpg.Record]", here: str, there: str) -> None:
    kinds = ["TABLE", "INDEX"]
    while kinds:  # it takes many locks at once, which is a deadlock now and then
        with suppress(asyncpg.DeadlockDetectedError):
            await other.execute(f"ALTER {kinds[0]} ALL IN TABLESPACE {here} SET TABLESPACE {there}")
            del kinds[0]


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(
            (slow_answers, lost_answers, sessions_ended, no_connection_left),
            id="on the line",
            marks=pytest.mark.long,
        ),
        pytest.param((restarts, a_server_that_stands_still, a_black_hole), id="of the server"),
    ],
)
async def test_a_bad_night_costs_no_ticket_and_no_run_is_blamed_for_it(night, faults):
    for fault in faults:
        await night.endures(fault)

    await night.ends_well()
    assert await night.blamed(*faults) == []


@pytest.mark.long
async def test_a_worker_cut_off_and_a_table_locked_for_long_cost_no_ticket(night):
    await night.endures(a_black_hole_for_one)
    await night.endures(locked_rows_and_a_locked_table)

    await night.ends_well()


async def test_a_full_disk_costs_no_ticket(night):
    await night.endures(a_full_disk)

    await night.ends_well()


async def test_a_clock_that_jumps_and_comes_back_costs_no_ticket_but_time(night):
    """What was stamped in the wrong time waits until the right one has come by."""
    await night.endures(a_clock_two_hours_ahead)
    await until(lambda: hot().fetchval(NOTHING_DUE))
    await turn_stamps(-TWO_HOURS, *TABLES)

    await night.ends_well()
    known = await hot().fetchval("SELECT count(*) FROM worker")
    assert known == 2, "a worker that the table has forgotten takes nobody's place any more"
