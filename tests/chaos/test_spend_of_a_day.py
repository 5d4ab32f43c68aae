"""A tenant's dollar a day: 64 connections in two processes that die, over many midnights.

A day lasts seconds here: the SQL function `spend_day`, which alone says what day it is, is replaced
by one that counts shorter days, by the same clock. Whatever a commit does to a window is seen by
a deferred trigger, which also says how a reservation left it.
"""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from models import contract
from models.database import hot
from tests.chaos.nursery import nursery
from tests.chaos.tellers import tellers
from tests.conftest import sweep
from tests.spenders import DEAREST, GREEDY, PIPELINES, TWO

CAP = Decimal("1.00")
POLICY = f"spend: {{tenant_usd_per_day: {CAP}}}\n"
_WATCH = """
    CREATE TABLE seen_spend (
        scope text, day date, used numeric, overrun numeric, reserved_at numeric);
    CREATE FUNCTION see_spend() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO seen_spend VALUES (
            NEW.scope, NEW.day, NEW.reserved + NEW.spent, NEW.overrun,
            CASE WHEN NEW.reserved > CASE TG_OP WHEN 'UPDATE' THEN OLD.reserved ELSE 0 END
            THEN NEW.reserved + NEW.spent END);
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER see_spend AFTER INSERT OR UPDATE ON spend
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION see_spend()
"""
_UNWATCH = "DROP TRIGGER see_spend ON spend; DROP FUNCTION see_spend; DROP TABLE seen_spend"
_GO_ON = """
    UPDATE run SET dispatch_at = now()
     WHERE id IN (SELECT id FROM run WHERE status = 'queued' AND waiting_for = 'spend'
                     AND dispatch_at > now() LIMIT 50 FOR UPDATE SKIP LOCKED)
 RETURNING spend_day()
"""
"""As if the half minute were over that they wait for money."""
_LEDGER = """
    SELECT spend_day, sum(reserved_usd), sum(spent_usd) FROM ledger_entry
     WHERE spend_day IS NOT NULL GROUP BY 1 ORDER BY 1
"""


@asynccontextmanager
async def days_of(seconds: float) -> AsyncIterator[None]:
    """Days as short as this, by the database's clock; the windows are watched."""
    real = await hot().fetchval("SELECT pg_get_functiondef('spend_day'::regproc)")
    start = await hot().fetchval("SELECT extract(epoch FROM now())")
    await hot().execute(f"""
        CREATE OR REPLACE FUNCTION spend_day() RETURNS date LANGUAGE sql STABLE AS $$
            SELECT date '2001-01-01'
                   + floor((extract(epoch FROM now()) - {start}) / {seconds})::int
        $$
    """)  # noqa: S608  # numbers
    await hot().execute(_WATCH)
    try:
        yield
    finally:
        await hot().execute(_UNWATCH)
        await hot().execute(real)


@contextmanager
def workers(url: str, policy: Path, folder: Path) -> Iterator[Callable[[], int]]:
    """Real workers, as `sluice worker` starts them, each with 32 connections."""
    surroundings = {
        "SLUICE_DATABASE_URL": url, "SLUICE_POLICY": str(policy),
        "SLUICE_WORKER__CATALOGUES": '["tests.spenders"]', "SLUICE_WORKER__CONNECTIONS": "32",
        "SLUICE_WORKER__LEASE_S": "1.5", "SLUICE_WORKER__HEARTBEAT_S": "0.5",
        "SLUICE_WORKER__CRASH_LIMIT": "10000", "SLUICE_WORKER__SEND_BEFORE_S": "1",
    }  # fmt: skip
    with nursery("tests.spenders") as hatchery:
        yield lambda: hatchery.fork(surroundings, folder / "workers.log")


@contextmanager
def gateways(url: str, policy: Path, folder: Path) -> Iterator[Callable[[], int]]:
    """32 gateways in a process, whose intents meet at the windows and nowhere before."""
    with tellers(url, policy, folder / "workers.log") as parent:
        yield parent.fork


_OFTEN = 6


@dataclass
class Hands:
    """Two processes, one of which is killed now and then, and what was seen meanwhile."""

    fork: Callable[[], int]
    chance: random.Random
    pids: list[int] = field(default_factory=list)
    pause_s: float = 1.0
    """From one kill to the next, about."""
    tires: bool = False
    """After some kills, ever longer pauses."""
    kills: int = 0
    short_of_money: set[object] = field(default_factory=set)
    """Days on which somebody waited for money."""

    async def work(self, runs: int, *, within_s: float) -> None:
        """Until every run is over; whoever waits for money asks again at once."""
        self.pids = [self.fork(), self.fork()]
        killing = asyncio.create_task(self._kill())
        try:
            async with asyncio.timeout(within_s):
                while await hot().fetchval("SELECT count(finished_at) FROM run") < runs:
                    self.short_of_money |= {row[0] for row in await hot().fetch(_GO_ON)}
                    await sweep(crash_limit=10_000)
                    await asyncio.sleep(0.2)
        finally:
            killing.cancel()
            for pid in self.pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    async def _kill(self) -> None:
        while True:
            # Whose worker died twice is run alone, by a process that a busy machine starts slowly.
            patience = max(1, self.kills - _OFTEN) if self.tires else 1
            await asyncio.sleep(self.chance.uniform(0.3, 1.7) * self.pause_s * patience)
            victim = self.chance.randrange(2)
            with suppress(ProcessLookupError):
                os.kill(self.pids[victim], signal.SIGKILL)
                self.kills += 1
            self.pids[victim] = self.fork()


async def spend_on(
    runs: int, submit, database, tmp_path, start, *, day_s: float, pause_s: float = 1
) -> Hands:
    """Let so many runs spend their money, three calls each, and judge every commit."""
    await contract.publish(each.contract() for each in PIPELINES.values())
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    audited = await hot().fetchval("SELECT coalesce(max(seq), 0) FROM audit")
    for n in range(runs):
        await submit("spender", {"n": n})
    async with days_of(day_s):
        with start(database, policy, tmp_path) as fork:
            chance = random.Random(runs)  # noqa: S311  # the same each time
            hands = Hands(fork, chance, pause_s=pause_s, tires=start is workers)
            await hands.work(runs, within_s=500)
        await judge(hands, audited)
    print(f"{runs} runs, {hands.kills} kills, {len(hands.short_of_money)} days")  # noqa: T201  # -s
    return hands


async def judge(hands: Hands, audited: int) -> None:
    seen = await hot().fetch(
        "SELECT day, max(used) AS used, max(used - overrun) AS beside, max(reserved_at) AS reserved"
        "  FROM seen_spend WHERE scope = 'tenant:acme' GROUP BY day ORDER BY day"
    )
    assert {row[0] for row in await hot().fetch("SELECT DISTINCT stop_reason FROM run")} == {
        "success"
    }
    assert [row for row in seen if row["beside"] > CAP] == [], "above the cap, overruns apart"
    assert [row for row in seen if row["reserved"] > CAP] == [], "reserved above the cap"
    # On the last day, what is left may be less than a dollar.
    asked = [row for row in seen[:-1] if row["day"] in hands.short_of_money]
    assert len(asked) >= 3
    assert [row for row in asked if CAP - row["used"] >= DEAREST] == [], "left unused"

    # The windows are the ledger's sums, of each day.
    windows = await hot().fetch(
        "SELECT day, reserved, spent FROM spend WHERE scope = 'tenant:acme'"
        "   AND reserved + spent > 0 ORDER BY day"
    )
    assert [tuple(row) for row in windows] == [tuple(row) for row in await hot().fetch(_LEDGER)]
    assert sum(row["reserved"] for row in windows) == 0

    # Each call that was charged more is in its window and in the audit, once.
    overrun = await hot().fetch(
        "SELECT run_id::text, step FROM ledger_entry WHERE spent_usd = $1 ORDER BY 1, 2", GREEDY
    )
    told = await hot().fetch(
        "SELECT about->>'run', about->>'step' FROM audit WHERE act = 'overrun' AND seq > $1"
        " ORDER BY 1, 2", audited,
    )  # fmt: skip
    booked = await hot().fetchval("SELECT sum(overrun) FROM spend WHERE scope = 'tenant:acme'")
    assert overrun
    assert [tuple(row) for row in told] == [tuple(row) for row in overrun]
    assert booked == len(overrun) * (GREEDY - TWO)


@pytest.mark.parametrize("start", [pytest.param(workers, marks=pytest.mark.long), gateways])
async def test_a_dollar_a_day_is_never_overdrawn_by_two_processes_that_die_over_midnights(
    submit, database, tmp_path, start
):
    hands = await spend_on(100, submit, database, tmp_path, start, day_s=2.0)

    assert hands.kills >= 5


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("start", "runs", "pause_s"), [(workers, 250, 3), (gateways, 600, 1)])
async def test_a_dollar_a_day_over_many_midnights(submit, database, tmp_path, start, runs, pause_s):
    """Whose workers have died twice, is run alone by a process of its own: that takes its time."""
    hands = await spend_on(
        runs, submit, database, tmp_path, start, day_s=2.0, pause_s=pause_s
    )  # fmt: skip

    assert hands.kills >= 5
    assert len(hands.short_of_money) >= 15
