"""Days' ceilings of tenants and the fleet: never above, at any commit."""

import asyncio
import random
from decimal import Decimal

import asyncpg
import pytest

from models.database import close_database, dsn, hot, open_database
from models.ledger import EntryState
from models.run import StopReason
from models.spend import open_windows, spending
from tests.conftest import reload
from tests.integration.test_checkpoint import entry
from tools.tool import Rejected, Unavailable
from worker.checkpoint import settle
from worker.intent import intend
from worker.outcome import OutOfFunds

CENTS = Decimal("0.10")


async def window(scope: str) -> tuple[Decimal, Decimal]:
    row = await hot().fetchrow("SELECT reserved, spent FROM spend WHERE scope = $1", scope)
    return tuple(row)


async def held(submit, tenant: str) -> object:
    run = await submit("noop", {}, tenant=tenant)
    await hot().execute(
        "UPDATE run SET status = 'running', worker = gen_random_uuid(), attempt = 1,"
        " lease_expires_at = now() + interval '1 h' WHERE id = $1", run,
    )  # fmt: skip
    return run


async def test_what_a_call_costs_is_reserved_before_and_spent_after(submit, attempt):
    run = await submit("pay", {"n": 3})

    await attempt(run)

    assert (await reload(run))["stop_reason"] == StopReason.SUCCESS
    assert await window("fleet") == await window("tenant:acme") == (0, 3 * CENTS)


async def test_at_a_ceiling_is_allowed_and_past_it_a_run_waits_and_then_stops(
    submit, attempt, world, governed
):
    governed("spend: {tenant_usd_per_day: 0.20}")
    run = await submit("pay", {"n": 3})
    await attempt(run)
    row = await reload(run)
    assert (row["status"], row["waiting_for"]) == ("queued", "spend")
    assert "0.2 USD a day of its tenant" in row["detail"]
    assert world.count("probe.pay") == 2
    assert await window("tenant:acme") == (0, 2 * CENTS)

    # A quarter of an hour later it is given up.
    await hot().execute("UPDATE ledger_entry SET created_at = created_at - interval '16 min'")
    await hot().execute("UPDATE run SET dispatch_at = now() WHERE id = $1", run)
    await attempt(run)

    assert (await reload(run))["stop_reason"] == StopReason.COST_BUDGET
    assert world.count("probe.pay") == 2


async def test_a_raised_ceiling_lets_a_waiting_run_go_on(submit, attempt, world, governed):
    governed("spend: {fleet_usd_per_day: 0.10}")
    run = await submit("pay", {"n": 2})
    await attempt(run)
    assert (await reload(run))["waiting_for"] == "spend"

    governed("spend: {fleet_usd_per_day: 0.20}")
    await hot().execute("UPDATE run SET dispatch_at = now() WHERE id = $1", run)
    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], row["steps"]) == (StopReason.SUCCESS, 2)


async def test_a_tenant_at_its_ceiling_holds_up_no_other(submit, attempt, governed):
    governed("spend: {tenant_usd_per_day: 0.10}")
    await attempt(await submit("pay", {"n": 2}))
    other = await submit("pay", {"n": 1}, tenant="umbrella")

    await attempt(other)

    assert (await reload(other))["stop_reason"] == StopReason.SUCCESS


async def test_what_was_not_sent_is_given_back_to_the_window(submit, attempt, world):
    world.breaks("probe.pay", Unavailable("busy", retry_after_s=60))
    run = await submit("pay", {"n": 1})

    await attempt(run)

    assert await window("tenant:acme") == (0, 0)


async def test_what_is_in_doubt_stays_reserved_until_it_is_known(submit, attempt, world):
    world.loses_answer("probe.pay", MemoryError("its worker dies here"))
    run = await submit("pay", {"n": 1})
    await attempt(run)
    assert await window("tenant:acme") == (CENTS, 0)

    await hot().execute("UPDATE run SET dispatch_at = now() WHERE id = $1", run)
    await attempt(run)

    assert await window("tenant:acme") == (0, CENTS)


async def test_over_midnight_money_is_settled_where_it_was_reserved(submit):
    run = await held(submit, "acme")
    intent = entry(run, state=EntryState.RESERVED, usd=CENTS)
    assert await intend([intent]) == [None]
    await hot().execute("UPDATE spend SET day = day - 1")
    await hot().execute("UPDATE ledger_entry SET spend_day = spend_day - 1")

    await settle([entry(run, token=intent.token, usd=CENTS, release_usd=CENTS)])

    rows = await spending(3)
    assert {(row["scope"], row["reserved"], row["spent"]) for row in rows} == {
        ("fleet", 0, CENTS), ("tenant:acme", 0, CENTS),
    }  # fmt: skip


async def test_in_one_batch_only_so_many_are_admitted_as_can_be_paid(submit):
    runs = [await held(submit, "acme") for _ in range(5)]
    asked = [entry(run, state=EntryState.RESERVED, usd=CENTS, tenant_usd=3 * CENTS) for run in runs]

    answers = await intend(asked)

    assert [isinstance(each, OutOfFunds) for each in answers].count(True) == 2
    assert await window("tenant:acme") == (3 * CENTS, 0)


async def test_sixty_four_at_once_never_break_a_ceiling_at_any_commit(submit, database):
    """Every commit of the two windows is looked at by a trigger: whatever it was, it is kept."""
    ceiling, tenants = Decimal("1.00"), ("acme", "umbrella")
    runs = [await held(submit, tenants[n % 2]) for n in range(64)]
    await hot().execute("CREATE TABLE IF NOT EXISTS seen_spend (scope text, used numeric)")
    await hot().execute("""
        CREATE OR REPLACE FUNCTION see_spend() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO seen_spend VALUES (NEW.scope, NEW.reserved + NEW.spent); RETURN NULL; END
        $$; CREATE CONSTRAINT TRIGGER see_spend AFTER INSERT OR UPDATE ON spend
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION see_spend()
    """)
    chance = random.Random(7)  # noqa: S311  # the same each time

    async def pays(run) -> int:
        paid = 0
        for step in range(6):
            usd = Decimal(chance.choice(["0.01", "0.05", "0.20"]))
            intent = entry(
                run, step=f"s{step}", state=EntryState.RESERVED, usd=usd,
                tenant_usd=ceiling, fleet_usd=Decimal("1.50"),
            )  # fmt: skip
            (answer,) = await intend([intent])
            if isinstance(answer, OutOfFunds):
                continue
            assert answer is None
            fate = chance.choice([EntryState.SETTLED, EntryState.RELEASED, None])
            if fate is None:
                continue  # its worker dies: it stays reserved
            spent = usd if fate is EntryState.SETTLED else Decimal(0)
            done = entry(
                run, step=f"s{step}", token=intent.token, state=fate, usd=spent, release_usd=usd
            )
            assert await settle([done]) == [None]
            paid += 1
        return paid

    try:
        paid = sum(await asyncio.gather(*map(pays, runs)))
        seen = dict(await hot().fetch("SELECT scope, max(used) FROM seen_spend GROUP BY scope"))
    finally:
        await hot().execute("DROP TRIGGER see_spend ON spend; DROP TABLE seen_spend")

    assert paid > 0
    assert max(seen["tenant:acme"], seen["tenant:umbrella"]) <= ceiling
    assert seen["fleet"] <= Decimal("1.50")
    assert seen["fleet"] > Decimal("1.30"), "never more than one call's worst case left unused"
    ledger = await hot().fetchrow("SELECT sum(reserved_usd), sum(spent_usd) FROM ledger_entry")
    assert tuple(ledger) == await window("fleet")


async def test_whoever_waited_at_a_window_is_not_refused_while_there_is_room(submit, database):
    await close_database()
    await open_database(database, connections=24)
    try:
        runs = [await held(submit, "acme") for _ in range(24)]
        await open_windows(runs)

        # Each a transaction of its own, so that they meet at the row.
        answers = await asyncio.gather(*(
            intend([entry(run, state=EntryState.RESERVED, usd=CENTS, tenant_usd=20 * CENTS)])
            for run in runs
        ))  # fmt: skip

        refused = [answer for (answer,) in answers if isinstance(answer, OutOfFunds)]
        assert len(refused) == 4
        assert await window("tenant:acme") == (20 * CENTS, 0)
    finally:
        await close_database()
        await open_database(database)


async def test_a_refused_call_that_was_made_is_charged(submit, attempt, world):
    world.breaks("probe.pay", Rejected("no"))
    run = await submit("pay", {"n": 1})

    await attempt(run)

    assert await window("fleet") == (0, (await reload(run))["spent_usd"])


@pytest.mark.parametrize("scope", ["fleet", "tenant:acme"])
async def test_without_its_window_nothing_paid_is_admitted_until_it_is_made(
    submit, attempt, scope, database
):
    run = await submit("pay", {"n": 1})
    connection = await asyncpg.connect(dsn(database))
    await connection.execute("INSERT INTO spend (scope, day) VALUES ($1, '2020-01-01')", scope)
    await connection.close()

    await attempt(run)

    assert (await reload(run))["stop_reason"] == StopReason.SUCCESS
    assert (await window_today(scope)) == CENTS


async def window_today(scope: str) -> Decimal:
    return await hot().fetchval(
        "SELECT spent FROM spend WHERE scope = $1 AND day > '2020-01-01'", scope
    )
