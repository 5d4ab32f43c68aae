"""What targets charge: less goes back, more is booked and told, and no settle is refused."""

from dataclasses import replace
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from models import audit, notice
from models.database import hot
from models.ledger import EntryState
from models.review import DoubtVerdict
from models.run import StopReason
from models.verdict import answer
from tests.conftest import expire_lease, reload, sweep
from tests.integration.test_checkpoint import entry
from tests.integration.test_spend import CENTS, held, window
from tests.spenders import CENT, GREEDY, TWO
from tools.tool import Call, Unavailable
from worker import testimony
from worker.checkpoint import settle
from worker.intent import intend
from worker.outcome import LostLease, OutOfFunds


async def overrun(scope: str = "tenant:acme") -> Decimal:
    return await hot().fetchval("SELECT overrun FROM spend WHERE scope = $1", scope)


async def told() -> list[dict]:
    """What the audit says of overruns, as it was written."""
    rows = await hot().fetch("SELECT about::text FROM audit WHERE act = 'overrun' ORDER BY seq")
    return [row[0] for row in rows]


async def test_less_than_was_reserved_goes_back(submit, attempt):
    run = await submit("charged", {"tool": "thrifty"})
    await hot().execute("UPDATE run SET budget = '{\"cost_usd\": 0.05}' WHERE id = $1", run)

    await attempt(run)

    assert (await reload(run))["spent_usd"] == CENT
    assert await window("tenant:acme") == (0, CENT)
    assert await overrun() == 0


async def test_more_than_was_reserved_is_booked_and_told(submit, attempt, sluice):
    before = await told()
    run = await submit("charged", {"tool": "greedy"})

    with capture_logs() as lines:
        await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], row["spent_usd"], row["reserved_usd"]) == ("success", GREEDY, 0)
    assert await window("fleet") == await window("tenant:acme") == (0, GREEDY)
    assert await overrun("fleet") == await overrun() == GREEDY - TWO
    (line,) = [each for each in lines if each["event"] == "spend.overrun"]
    assert (line["log_level"], line["tool"]) == ("error", "spend.greedy")
    (new,) = (await told())[len(before) :]
    assert str(run) in new
    assert "0.07" in new
    assert [each["kind"] for each in await notice.latest(1)] == ["overrun"]
    _, out, _ = await sluice("spend")
    assert "0.0500" in out
    _, out, _ = await sluice("audit", "--limit", "1")
    assert "spend.greedy" in out
    await audit.verify()


async def test_an_overrun_counts_in_its_runs_own_budget(submit, attempt, world):
    """Five cents are the ceiling, enough for two calls; the first was charged seven."""
    run = await submit("charged", {"tool": "greedy", "times": 2})
    await hot().execute("UPDATE run SET budget = '{\"cost_usd\": 0.05}' WHERE id = $1", run)

    await attempt(run)

    assert (await reload(run))["stop_reason"] == StopReason.COST_BUDGET
    assert world.count("spend.greedy") == 1


async def test_what_was_not_spent_is_left_for_the_next_call_of_the_run(submit, attempt, world):
    """Two cents more than one call reserves are the ceiling, and each is charged one."""
    run = await submit("charged", {"tool": "thrifty", "times": 4})
    await hot().execute("UPDATE run SET budget = '{\"cost_usd\": 0.07}' WHERE id = $1", run)

    await attempt(run)

    assert (await reload(run))["stop_reason"] == StopReason.COST_BUDGET
    assert world.count("spend.thrifty") == 3


async def test_above_its_ceiling_a_window_settles_and_admits_nothing(submit):
    one, other, late = [await held(submit, "acme") for _ in range(3)]
    cap = {"usd": CENTS, "tenant_usd": 2 * CENTS}
    first, second = (entry(run, state=EntryState.RESERVED, **cap) for run in (one, other))
    assert await intend([first, second]) == [None, None]

    charged = entry(one, token=first.token, usd=5 * CENTS, release_usd=CENTS)
    assert await settle([charged]) == [None]
    (refused,) = await intend([entry(late, state=EntryState.RESERVED, **cap)])
    settled = await settle([entry(other, token=second.token, usd=CENTS, release_usd=CENTS)])

    assert isinstance(refused, OutOfFunds)
    assert settled == [None]
    assert await window("tenant:acme") == (0, 6 * CENTS)
    assert await overrun() == 4 * CENTS


async def test_what_costs_nothing_and_is_charged_all_the_same_is_an_overrun(submit, attempt):
    run = await submit("charged", {"tool": "surprise"})

    await attempt(run)

    assert (await reload(run))["spent_usd"] == CENT
    assert (await window("tenant:acme"), await overrun()) == ((0, CENT), CENT)


@pytest.mark.parametrize("n", [0, 1])
async def test_a_failure_may_be_charged_too(submit, attempt, n):
    """0 refuses and is charged two cents, of one reserved; 1 is away, and charges them as well."""
    run = await submit("charged", {"tool": "refusal", "n": n})

    await attempt(run)

    assert (await reload(run))["spent_usd"] == TWO
    assert (await window("tenant:acme"), await overrun()) == ((0, TWO), CENT)


async def test_what_a_failed_try_was_charged_is_kept_when_the_next_one_goes_well(
    submit, attempt, world
):
    world.loses_answer("spend.surprise", Unavailable("busy", retry_after_s=60))
    run = await submit("charged", {"tool": "surprise"})
    await attempt(run)
    assert await window("tenant:acme") == (0, CENT)
    await hot().execute("UPDATE run SET dispatch_at = now()")

    await attempt(run)

    assert (await reload(run))["spent_usd"] == 2 * CENT
    assert await hot().fetchval("SELECT spent_usd FROM ledger_entry") == 2 * CENT
    assert await window("tenant:acme") == (0, 2 * CENT)


async def test_an_overrun_that_comes_late_is_told_as_well(submit):
    before = len(await told())
    run = await held(submit, "acme")
    intent = entry(run, state=EntryState.RESERVED, usd=CENTS)
    assert await intend([intent]) == [None]
    late = entry(run, token=intent.token, usd=2 * CENTS, release_usd=CENTS)
    late = replace(late, tool="spend.late")

    await testimony.testify([late])

    assert len(await told()) == before + 1
    assert (await window("tenant:acme"), await overrun()) == ((0, 2 * CENTS), CENTS)


async def test_an_outcome_that_was_not_taken_tells_of_no_overrun(submit):
    before = len(await told())
    run = await held(submit, "acme")

    await settle([entry(run, usd=2 * CENTS, release_usd=CENTS)])

    assert len(await told()) == before


@pytest.mark.parametrize("usd", ["-0.01", "NaN", "Infinity"])
def test_a_charge_is_an_amount(usd):
    call = Call(None, "acme", "s", "k", 0.0)

    with pytest.raises(ValueError, match="0 or more"):
        call.spent(Decimal(usd))


async def test_the_day_is_utc_whatever_the_session_says(database):
    async with hot().acquire() as connection, connection.transaction():
        days = set()
        for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
            await connection.execute(f"SET LOCAL TIME ZONE '{zone}'")
            days.add(await connection.fetchval("SELECT spend_day()"))
        days.add(await connection.fetchval("SELECT (now() AT TIME ZONE 'utc')::date"))

    assert len(days) == 1, "26 hours apart, these two are never on one day"


@pytest.mark.parametrize(("said", "left"), [
    (DoubtVerdict.ABANDONED, (0, CENT)), (DoubtVerdict.DID_NOT_HAPPEN, (0, 0)),
])  # fmt: skip
async def test_a_reservation_whose_lease_ran_out_stays_charged_until_it_is_known(
    submit, attempt, world, said, left
):
    """Over its worker's death, midnight and a new attempt, until a person says what happened."""
    run = await submit("charged", {"tool": "once"})
    world.loses_answer("spend.once", LostLease())
    await attempt(run)
    await expire_lease(run)
    await sweep()
    assert await window("tenant:acme") == (CENT, 0)

    await hot().execute("UPDATE spend SET day = day - 1")
    await hot().execute(
        "UPDATE ledger_entry SET spend_day = spend_day - 1, send_before = now(),"
        " quiet_at = now(), created_at = created_at - interval '1 d'"
    )
    await attempt(run)
    assert (await reload(run))["waiting_for"] == "review"
    assert await window("tenant:acme") == (CENT, 0)

    review = await hot().fetchval("SELECT id FROM review WHERE run_id = $1", run)
    await answer(review, said, who="ada")

    assert await window("tenant:acme") == left
