"""Where errors go: on-call, a person, another try, or the log."""

from pathlib import Path

import pytest
import structlog

from models.database import hot
from models.route import ROUTES, Route
from models.run import PAGING, StopReason
from tests.conftest import CATALOGUE, document, expire_lease, reload, sweep, until
from tests.integration.test_notices import notifiers, pager  # noqa: F401  # a fixture
from tests.pipelines import Number, Value, read, write
from tools.tool import Contract, Effect, Rejected, tool
from worker.flow import Flow
from worker.labels.binding import ref
from worker.pipeline import Catalogue, pipeline

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"


class Odd(Contract):
    minor: int


@tool("probe.odd", effect=Effect.READ, timeout_s=5)
async def odd(args: Odd, call) -> Odd:
    return args


@pipeline("degrading", version=1, tools=[read, write])
async def degrading(flow: Flow, given: Number) -> Number:
    """One answer of our own where there is none, one step that may be missing, one that may not."""
    found = await flow.call("look", read, n=given.n, fallback=Value(n=-1))
    noted = await flow.call("note", read, n=found.n, minor=True)
    seen = 0 if noted is None else 1
    written = await flow.call("write", write, n=ref("look:/n"))
    return Number(n=written.n * 10 + seen)


@pipeline("odd-names", version=1, tools=[read, odd])
async def odd_names(flow: Flow, given: Number) -> Number:
    """A tool's own argument stays its own; a fallback is a result of its tool."""
    assert (await flow.call("odd", odd, minor=given.n)).minor == given.n
    if given.n == 1:
        await flow.call("mixed", odd, minor=1, fallback=Odd(minor=1))
    if given.n == 2:
        await flow.call("wrong", read, n=1, fallback=Odd(minor=1))
    return given


PIPELINES: Catalogue = {(each.name, 1): each for each in (degrading, odd_names)}
CATALOGUE |= PIPELINES


def test_every_stop_reason_has_one_route_and_the_critical_ones_are_those_that_page():
    assert ROUTES.keys() == set(StopReason)
    assert {each for each in StopReason if ROUTES[each] is Route.CRITICAL} == set(PAGING)


@pytest.mark.parametrize("reason", StopReason)
def test_the_runbook_says_where_it_goes(reason):
    facts = reason.facts
    said = {True: "yes", False: "no"}
    page = RUNBOOK.read_text().split(f"\n### {reason}\n")[1].split("\n### ")[0]

    assert page.strip().splitlines()[0] == (
        f"Route {ROUTES[reason]} · severity {facts.severity} · pages: {said[facts.pages]}"
        f" · retry helps: {said[facts.retry_helps]}"
    )


async def test_each_critical_reason_reaches_the_pager_and_no_other_does(submit, pager):  # noqa: F811
    url, told, refusals = pager
    refusals.clear()
    for reason in StopReason:
        run = await submit("noop", {})
        await hot().execute(
            "UPDATE run SET status = 'finished', stop_reason = $2, finished_at = now(),"
            " dispatch_at = NULL WHERE id = $1",
            run,
            reason,
        )
    critical = {each for each in StopReason if ROUTES[each] is Route.CRITICAL}

    async with notifiers(url, 1):
        await until(lambda: _told(told, len(critical)))

    assert {each["kind"] for each in told} == {"stopped"}
    assert {each["id"].split(":")[3] for each in told} == critical


async def _told(told, count):
    return len(told) >= count


async def test_a_fallback_takes_the_place_of_a_result_and_a_minor_step_that_of_none(
    submit, attempt, world
):
    run = await submit("degrading", {"n": 4})
    world.breaks("probe.read", Rejected("closed on Sundays"), times=2)

    with structlog.testing.capture_logs() as lines:
        await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], document(row["result"])) == (StopReason.SUCCESS, {"n": -10})
    told = [(each["event"], each["step"], each["reason"]) for each in lines if "step" in each]
    assert told == [
        ("step.fallback", "look", "tool_failed"),
        ("step.minor", "note", "tool_failed"),
    ]
    states = await hot().fetch("SELECT state FROM ledger_entry ORDER BY number")
    assert [each["state"] for each in states] == ["rejected", "rejected", "settled"]


async def test_without_a_failure_the_short_forms_change_nothing(submit, attempt):
    run = await submit("degrading", {"n": 4})

    await attempt(run)

    assert document((await reload(run))["result"]) == {"n": 41}


async def test_a_replay_falls_back_the_same_way_and_tells_it_once(submit, attempt, world):
    run = await submit("degrading", {"n": 4})
    world.breaks("probe.read", Rejected("closed on Sundays"))
    world.loses_answer("probe.write", MemoryError("its worker dies here"))
    await attempt(run)
    assert (await reload(run))["bugs"] == 1
    await hot().execute("UPDATE run SET dispatch_at = now()")

    with structlog.testing.capture_logs() as lines:
        await attempt(run)

    assert document((await reload(run))["result"]) == {"n": -9}
    assert [each for each in lines if each["event"].startswith("step.")] == []
    assert world.count("probe.read") == 2


async def test_a_critical_failure_is_no_minor_one(submit, attempt, world):
    run = await submit("degrading", {"n": 4})
    world.breaks("probe.read", Rejected("wrong key", reason=StopReason.TOOL_AUTH_FAILED))

    await attempt(run)

    assert (await reload(run))["stop_reason"] == StopReason.TOOL_AUTH_FAILED
    assert world.count("probe.write") == 0


@pytest.mark.parametrize(
    ("n", "told"),
    [
        (0, None),
        (1, "probe.odd takes 'minor' itself"),
        (2, "a fallback is a Value, as probe.read gives one"),
    ],
)
async def test_a_short_form_is_refused_where_it_cannot_be_meant(submit, attempt, n, told):
    run = await submit("odd-names", {"n": n})

    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"] == StopReason.SUCCESS) == (told is None)
    assert told is None or told in row["detail"]


async def test_show_says_which_route_it_went(submit, attempt, sluice):
    run = await submit("noop", {})
    await hot().execute(
        "UPDATE run SET status = 'running', worker = gen_random_uuid(), attempt = 1, crashes = 2,"
        " lease_expires_at = now() WHERE id = $1",
        run,
    )
    await expire_lease(run)
    await sweep()

    _, told, _ = await sluice("show", str(run))

    assert "route critical: on-call is told at once" in told
