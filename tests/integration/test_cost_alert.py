"""Cost alerts, from the alert to the cloud: whoever misbehaves, one stop or none, and why."""

import asyncio
from decimal import Decimal
from pathlib import Path

import orjson
import pytest

from config.settings import settings
from models.database import hot
from models.review import Verdict
from models.verdict import answer
from tests import model_server as model
from tests.cloud_server import (
    cloud_server,
    does_and_hangs,
    does_and_resets,
    does_and_says,
    only_says,
    refuses,
)
from tests.conftest import CATALOGUE, document, expire_lease, reload, sweep
from tests.target import a_call
from tools import http, llm
from tools.cloud.form import Instance, InstanceId, Shutdown
from tools.cloud.instance import estimate, rehearse_shutdown, shutdown
from tools.tool import Rejected
from worker import use
from worker.agents.agent import Agent, Reply, offer
from worker.flow import Flow
from worker.labels.binding import ref
from worker.pipeline import pipeline
from worker.pipelines.cost_alert import Alert, Handled
from worker.pipelines.cost_alert_analysis import by_words

QUICK = "tools: {retries: {backoff_ms: [1], max_wait_s: 0}, timeouts_s: {default: 0.4}}"
ALERTS = Path(__file__).parents[2] / "samples" / "alerts"
SMALL, LARGE = "i-sandbox-7", "i-staging-load"
IDLE = {"id": "A-1", "instance_id": SMALL, "text": "it is idle"}
NOTHING = "something is odd here"
ONCE = {"snapshots": 1, "stop": 1}
SURE = {"action": "shutdown", "confidence": 0.95, "because": "nobody uses it"}


@pytest.fixture
async def lab(monkeypatch):
    async with cloud_server() as it:
        monkeypatch.setenv("SLUICE_CLOUD__URL", it.url)
        settings.cache_clear()
        yield it
        await http.close()
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
async def assistant(monkeypatch, lab):
    """The language model `default`."""
    async with model.model_server() as it:
        named = {
            "base_url": it.url, "model": "probe-1", "timeout_s": 0.4, "max_tokens": 300,
            "usd_per_million_in": 10, "usd_per_million_out": 20,
        }  # fmt: skip
        monkeypatch.setenv("SLUICE_MODELS", orjson.dumps({"default": named}).decode())
        settings.cache_clear()
        yield it
        await llm.close()


@pytest.fixture
def handle(submit, attempt):
    """Has an alert handled, to the run's end or until a person is asked; its row."""

    async def go(given, **more):
        run = await submit("cost-alert", IDLE | given, **more)
        return await goes_on(run, attempt)

    return go


async def goes_on(run, attempt):
    for _ in range(12):
        await attempt(run)
        row = await reload(run)
        if row["status"] != "queued":
            return row
        await hot().execute("UPDATE run SET dispatch_at = now() WHERE id = $1", run)
        await hot().execute(
            "UPDATE ledger_entry SET quiet_at = now() - interval '1 min' WHERE state = 'reserved'"
        )
    return await reload(run)


async def decide(verdict):
    (review,) = await hot().fetch("SELECT id FROM review WHERE verdict IS NULL")
    await answer(review["id"], verdict, who="jo")


async def steps():
    return [row[0] for row in await hot().fetch("SELECT step FROM ledger_entry ORDER BY number")]


def result(row):
    assert row["stop_reason"] == "success", row["detail"]
    return document(row["result"])


# By rules alone


async def test_an_idle_instance_is_kept_in_a_snapshot_and_then_shut_down(handle, lab):
    told = result(await handle({}))

    assert (told["action"], told["outcome"]) == ("shutdown", "stopped")
    assert (told["would_save_usd"], told["saves_usd"], told["monthly_usd"]) == ("38.00",) * 3
    assert (told["snapshot_id"], told["approved_by"], told["dry_run"]) == ("snap-0001", None, False)
    assert lab.cloud.instances[SMALL].state == "stopped"
    assert [each.path.rpartition("/")[2] for each in lab.cloud.requests] == [
        SMALL, SMALL, "snapshots", "stop", SMALL,
    ]  # fmt: skip
    assert await steps() == [
        "look", "analyse-by-rules", "estimate", "stop/snapshot", "stop", "verify", "approval",
    ]  # fmt: skip


async def test_a_dry_run_tells_what_would_be_saved_and_changes_nothing(handle, lab):
    told = result(await handle({"dry_run": True}))

    assert (told["outcome"], told["would_save_usd"], told["saves_usd"]) == (
        "would_stop", "38.00", "0",
    )  # fmt: skip
    assert (told["dry_run"], told["snapshot_id"], lab.posts()) == (True, None, {})


@pytest.mark.parametrize(
    ("alert", "outcome"),
    [
        ("idle-sandbox", ("shutdown", "stopped", SMALL)),
        ("load-test-staging", None),
        ("production-db", ("resize", "advised", "i-prod-db-1")),
        ("hostile", ("investigate", "advised", "i-web-checkout")),
        ("stale", ("monitor", "advised", "i-dev-forgotten")),
    ],
)
async def test_each_sample_alert_comes_to_what_its_name_says(submit, attempt, lab, alert, outcome):
    given = orjson.loads((ALERTS / f"{alert}.json").read_bytes())
    row = await goes_on(await submit("cost-alert", given), attempt)

    if outcome is None:
        assert row["waiting_for"] == "review", "412.50 USD a month: a person is asked"
        return
    told = result(row)
    assert (told["action"], told["outcome"], told["instance_id"]) == outcome
    running = {each.id for each in lab.cloud.instances.values() if each.state == "running"}
    assert {"i-prod-db-1", "i-web-checkout"} <= running


def test_there_is_a_test_for_each_sample():
    assert sorted(each.stem for each in ALERTS.iterdir()) == [
        "hostile", "idle-sandbox", "load-test-staging", "production-db", "stale",
    ]  # fmt: skip


async def test_an_alert_about_what_costs_less_by_now_is_stale(handle, lab, assistant):
    told = result(await handle({"monthly_usd": "90.00", "assistant": "default"}))

    assert (told["action"], told["because"][:18]) == ("monitor", "the alert is stale")
    assert (assistant.requests, lab.posts()) == ([], {})


async def test_a_stop_that_was_only_rehearsed_is_told_as_that(handle, lab, world, monkeypatch):
    async def rehearses(tool_, args, call):
        if tool_ is shutdown:
            return await rehearse_shutdown(args, call)
        return await world(tool_, args, call)

    monkeypatch.setattr(use, "invoke", rehearses)

    told = result(await handle({}))

    assert (told["outcome"], told["dry_run"], told["saves_usd"]) == ("would_stop", True, "0")
    assert lab.cloud.instances[SMALL].state == "running"


async def test_what_somebody_stopped_meanwhile_is_left_alone(handle, lab):
    async def before(verb):
        if len(lab.cloud.requests) == 1:
            lab.cloud.instances[SMALL].state = "stopped"

    lab.before = before

    told = result(await handle({}))

    assert (told["action"], told["because"]) == ("monitor", "somebody has stopped it")
    assert lab.posts() == {}


# A person, above an amount


@pytest.mark.parametrize(("usd", "asked"), [("100.00", False), ("100.01", True), ("99.99", False)])
async def test_above_a_hundred_a_month_a_person_is_asked_and_at_it_nobody(handle, lab, usd, asked):
    lab.cloud.instances[SMALL].monthly_usd = usd

    row = await handle({"monthly_usd": "1.00"})

    assert (row["waiting_for"] == "review") == asked
    assert lab.posts() == ({} if asked else ONCE)
    if asked:
        shown = document(await hot().fetchval("SELECT proposal FROM review"))
        assert shown == {"instance_id": SMALL, "would_save_usd": "100.01"}


@pytest.mark.parametrize(
    ("policy", "asked"),
    [
        ("agent: {budgets: {max_steps: 50}}", True),
        ("tools: {approvals: {'mail.*': always}}", True),
        ("tools: {approvals: {'cloud.*': never}}", False),
        ("tools: {approvals: {'cloud.shutdown': 'above(/would_save_usd, 500)'}}", False),
    ],
)
async def test_that_holds_under_a_policy_that_does_not_mention_it(
    handle, lab, governed, policy, asked
):
    governed(policy)

    row = await handle({"instance_id": LARGE})

    assert (row["waiting_for"] == "review", lab.posts()) == (asked, {} if asked else ONCE)


async def test_what_was_approved_is_done_once_and_says_by_whom(handle, lab, attempt):
    row = await handle({"instance_id": LARGE})
    assert lab.posts() == {}, "no snapshot either, before they have said yes"

    await decide(Verdict.APPROVED)
    told = result(await goes_on(row["id"], attempt))

    assert (told["outcome"], told["approved_by"], told["saves_usd"]) == ("stopped", "jo", "412.50")
    assert lab.posts() == ONCE


async def test_what_was_rejected_is_not_done_and_the_advice_is_kept(handle, lab, attempt):
    row = await handle({"instance_id": LARGE})

    await decide(Verdict.REJECTED)
    row = await goes_on(row["id"], attempt)

    assert (row["stop_reason"], lab.posts()) == ("review_rejected", {})
    kept = document(row["partial"])
    assert (kept["action"], kept["outcome"], kept["would_save_usd"]) == (
        "shutdown", "would_stop", "412.50",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"monthly_usd": "999.00"}, "it costs 999.00 USD a month"),
        ({"tags": ("staging", "production")}, "it is tagged production"),
    ],
)
async def test_what_has_changed_since_it_was_approved_is_not_shut_down(
    handle, lab, attempt, change, told
):
    row = await handle({"instance_id": LARGE})
    await decide(Verdict.APPROVED)
    for name, value in change.items():
        setattr(lab.cloud.instances[LARGE], name, value)

    row = await goes_on(row["id"], attempt)

    assert (row["stop_reason"], lab.cloud.instances[LARGE].state) == ("tool_failed", "running")
    assert told in row["detail"]
    assert document(row["partial"])["action"] == "shutdown"


async def test_an_amount_altered_on_record_is_no_longer_what_was_approved(handle, lab, attempt):
    row = await handle({"instance_id": LARGE})
    await decide(Verdict.APPROVED)
    await hot().execute(
        "UPDATE ledger_entry SET result = replace(result::text, '412.5', '41.25')::json"
        " WHERE step = 'estimate'"
    )

    row = await goes_on(row["id"], attempt)

    assert (row["stop_reason"], lab.posts()) == ("replay_mismatch", {})


# Rails


@pytest.mark.parametrize(
    "tag",
    [
        "production",
        "critical",
        "production-db",
        "env:PROD",
        "Critical",
        "nonprod",
        "\u0440r\u043ed",
        "\uff50\uff52\uff4f\uff44",
        "pro\u200bd",
        "cr\u0456tic\u00e1l",
    ],
)
async def test_no_certainty_of_a_model_shuts_down_what_a_tag_protects(
    handle, lab, assistant, governed, tag
):
    governed("tools: {approvals: {'*': never}}")
    lab.cloud.instances[SMALL].tags = ("sandbox", tag)
    assistant.will(model.says(SURE | {"confidence": 1.0}))

    told = result(await handle({"assistant": "default"}))

    assert (told["action"], told["outcome"]) == ("investigate", "held_back")
    assert tag in told["because"]
    assert lab.posts() == {}


@pytest.mark.parametrize("tag", ["latest", "device", "contest-db", "attested", "templates"])
async def test_words_alone_shut_down_nothing_whose_tag_only_holds_such_letters(handle, lab, tag):
    lab.cloud.instances[SMALL].tags = (tag,)

    told = result(await handle({}))

    assert (told["action"], told["outcome"], lab.posts()) == ("investigate", "advised", {})


@pytest.mark.parametrize("tag", ["env:dev", "Development", "test-2", "load_testing", "DEMO"])
def test_a_tag_that_says_what_an_instance_is_for_is_read_as_a_word(tag):
    seen = Instance(instance_id=SMALL, name="", state="running", tags=(tag,), monthly_usd=1)

    found = by_words(alert="it is idle", alert_usd=None, instance=seen)

    assert found is not None
    assert found.action == "shutdown"


async def test_the_cloud_is_told_of_the_rail_with_the_call_itself(lab):
    """A pipeline that does not look gets no further."""
    args = Shutdown(instance_id="i-prod-db-1", would_save_usd=Decimal("890.00"))

    with pytest.raises(Rejected, match="tagged production-db"):
        await shutdown.run(args, a_call())


async def test_a_rehearsal_is_refused_where_the_real_one_would_be_and_changes_nothing(lab):
    small = Shutdown(instance_id=SMALL, would_save_usd=Decimal(38))

    told = await rehearse_shutdown(small, a_call())
    with pytest.raises(Rejected, match="costs 38"):
        await rehearse_shutdown(small.model_copy(update={"would_save_usd": Decimal(1)}), a_call())
    with pytest.raises(Rejected, match="production-db"):
        await rehearse_shutdown(small.model_copy(update={"instance_id": "i-prod-db-1"}), a_call())
    gone = await estimate.run(InstanceId(instance_id="i-dev-forgotten"), a_call())

    assert (told.dry_run, told.saves_usd, gone.would_save_usd, lab.posts()) == (True, 38, 0, {})


async def _shuts_down(view):
    return Reply('{"call": {"tool": "cloud.shutdown", "arguments": {}}}', tokens=1)


ACTOR = Agent(name="actor", instructions="Save money.", answer=Handled, model=_shuts_down, turns=2)


@pipeline(
    "cost-actor", version=1, tools=[estimate, shutdown, *CATALOGUE["cost-alert", 1].tools.values()],
    trusts=["/instance_id"],
)  # fmt: skip
async def cost_actor(flow: Flow, alert: Alert) -> Handled:
    """A model proposes the shutdown itself."""
    await flow.call("estimate", estimate, instance_id=ref("input:/instance_id"))
    bound = {each: ref(f"estimate:/{each}") for each in ("instance_id", "would_save_usd")}
    return await flow.act("work", ACTOR, goal="", offers=[offer(shutdown, **bound)])


CATALOGUE["cost-actor", 1] = cost_actor


async def test_what_a_model_proposes_is_asked_about_below_the_amount_too(submit, attempt, lab):
    row = await goes_on(await submit("cost-actor", IDLE), attempt)

    assert (row["waiting_for"], lab.posts()) == ("review", {})
    assert "a model proposed it" in await hot().fetchval("SELECT question FROM review")


# A model that misbehaves


def _other(instance):
    return {**SURE, "instance_id": instance}


RULES = ("shutdown", "it is idle")
UNFIT = ("investigate", NOTHING)


@pytest.mark.parametrize(
    ("said", "text", "action", "asked"),
    [
        (model.says(SURE), NOTHING, "shutdown", 1),
        (model.says(SURE | {"confidence": 0.69}), NOTHING, "investigate", 1),
        (model.says(SURE | {"confidence": 0.7}), NOTHING, "shutdown", 1),
        (model.says(SURE | {"action": "resize", "confidence": 0.5}), NOTHING, "investigate", 1),
        (model.says(SURE | {"confidence": 2.0}), NOTHING, "investigate", 3),
        (model.says(SURE | {"confidence": "0.95"}), NOTHING, "investigate", 3),
        (model.says(_other("i-prod-db-1")), NOTHING, "investigate", 3),
        (model.says(SURE | {"action": "delete"}), NOTHING, "investigate", 3),
        (model.says("certainly! {"), NOTHING, "investigate", 3),
        (model.says([SURE]), NOTHING, "investigate", 3),
        (model.says(SURE | {"because": "x" * 501}), NOTHING, "investigate", 3),
        (model.says(None, refusal="no"), NOTHING, "investigate", None),
        (model.says(SURE, finish="length"), NOTHING, "investigate", 1),
        (model.says(SURE, finish="content_filter"), NOTHING, "investigate", 1),
        (model.says(SURE, used=(0, 0)), NOTHING, "shutdown", 1),
        (model.says(SURE, used=None), NOTHING, "shutdown", 1),
        (model.trickles(1), "it is idle", "shutdown", 1),
        (model.trickles(1), NOTHING, "investigate", 1),
        (model.refuses(500), "it is idle", "shutdown", 1),
        (model.refuses(429, Retry_After="7"), "it is idle", "shutdown", 1),
        (model.refuses(401), NOTHING, "investigate", 1),
        (model.cut(), "it is idle", "shutdown", 1),
        (model.raw(b"<html>"), NOTHING, "investigate", 1),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Failed to extract usage")
async def test_however_a_model_misbehaves_it_is_one_stop_or_none_within_the_budget(
    handle, lab, assistant, governed, said, text, action, asked
):
    """What it cannot say, rules say."""
    governed(QUICK)
    assistant.will(said)

    row = await handle({"text": text, "assistant": "default"})

    told = result(row)
    assert (told["action"], told["instance_id"]) == (action, SMALL)
    assert lab.posts() == (ONCE if action == "shutdown" else {})
    assert asked in {None, len(assistant.requests)}
    assert 0 <= row["spent_usd"] <= Decimal("0.50")
    assert row["reserved_usd"] == 0
    assert lab.cloud.instances["i-prod-db-1"].state == "running"


@pytest.mark.filterwarnings("ignore:Failed to extract usage")
async def test_a_model_that_lies_about_its_usage_ends_the_run_and_keeps_what_was_seen(
    handle, lab, assistant
):
    assistant.will(model.says(SURE, used=(10**6, 10**6)))

    row = await handle({"text": NOTHING, "assistant": "default"})

    assert (row["stop_reason"], row["reserved_usd"], lab.posts()) == ("cost_budget", 0, {})
    assert document(row["partial"])["outcome"] == "advised"


async def test_a_slow_model_is_waited_for_a_while_and_then_done_without(
    submit, attempt, lab, assistant, governed
):
    governed("tools: {retries: {backoff_ms: [1], max_attempts: 1}, timeouts_s: {default: 0.2}}")
    assistant.will(model.waits(asyncio.Event(), model.says(SURE)))
    run = await submit("cost-alert", IDLE | {"assistant": "default"})

    await attempt(run)
    row = await reload(run)
    assert (row["status"], row["waiting_for"], lab.posts()) == ("queued", "tool", {})
    await hot().execute(
        "UPDATE ledger_entry SET created_at = now() - interval '1 h' WHERE step = 'analyse/ask-1'"
    )
    told = result(await goes_on(run, attempt))

    assert (told["outcome"], "and it is tagged" in told["because"]) == ("stopped", True)
    assert lab.posts() == ONCE


async def test_without_any_model_in_the_settings_one_that_is_named_is_refused_clearly(handle, lab):
    row = await handle({"assistant": "default", "text": NOTHING})

    assert row["stop_reason"] == "tool_denied"
    assert "no setting names a model 'default': SLUICE_MODELS" in row["detail"]
    assert lab.posts() == {}


# A cloud that misbehaves


@pytest.mark.parametrize("verb", ["snapshots", "stop"])
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(does_and_says(502), id="502 after"),
        pytest.param(does_and_says(500), id="500 after"),
        pytest.param(does_and_hangs(), id="hangs after", marks=pytest.mark.long),
        pytest.param(does_and_resets(), id="resets after"),
        pytest.param(does_and_says(200, {"state": "gone", "id": "?"}), id="nonsense after"),
        pytest.param(refuses(502), id="502 before"),
        pytest.param(refuses(429), id="429"),
        pytest.param(refuses(503, Retry_After="0"), id="503"),
        pytest.param(refuses(409), id="409 busy"),
    ],
)
async def test_however_the_cloud_answers_there_is_one_snapshot_and_one_stop(
    handle, lab, governed, verb, fault
):
    governed("tools: {retries: {backoff_ms: [1]}, timeouts_s: {default: 0.4}}")
    lab.will(verb, fault)

    told = result(await handle({}))

    assert (told["outcome"], lab.posts()) == ("stopped", ONCE)
    assert len(lab.cloud.snapshots) == 1
    assert len(lab.keys(verb)) == 1, "each try with the same key"


async def test_a_stop_that_is_refused_leaves_the_snapshot_and_the_advice(handle, lab):
    lab.will("stop", refuses(403))

    row = await handle({})

    assert (row["stop_reason"], lab.posts()) == ("tool_auth_failed", {"snapshots": 1})
    assert document(row["partial"])["outcome"] == "would_stop"


async def test_without_a_snapshot_nothing_is_shut_down(handle, lab):
    lab.will("snapshots", refuses(400))

    row = await handle({})

    assert (row["stop_reason"], lab.posts()) == ("tool_failed", {})
    assert lab.cloud.instances[SMALL].state == "running"


RUNS_ON = only_says(200, {"state": "stopped"})


@pytest.mark.parametrize("unreadable", [False, True])
async def test_what_is_not_seen_to_have_stopped_is_started_from_its_snapshot(
    handle, lab, unreadable
):
    lab.will("stop", RUNS_ON)
    if unreadable:
        looks = 0

        async def before(verb):
            nonlocal looks
            looks += verb == "look"
            if looks == 3:
                lab.will("look", refuses(404))

        lab.before = before

    told = result(await handle({}))

    assert (told["outcome"], told["saves_usd"]) == ("rolled_back", "0")
    assert lab.posts() == {"snapshots": 1, "start": 1}
    start = next(each for each in lab.cloud.requests if each.path.endswith("/start"))
    assert start.body == {"snapshot_id": "snap-0001"}
    assert (await steps())[-1] == "undo/stop"


@pytest.mark.parametrize("fails_at", range(1, 8))
async def test_a_worker_that_dies_anywhere_leaves_one_snapshot_one_stop_and_one_undo(
    submit, attempt, lab, world, monkeypatch, fails_at
):
    """The crash comes with the n-th call: the call is done, and its answer is lost."""
    lab.will("stop", RUNS_ON)
    run = await submit("cost-alert", IDLE)
    calls = 0

    async def dies(tool_, args, call):
        nonlocal calls
        calls += 1
        told = await world(tool_, args, call)
        if calls == fails_at:
            await hot().execute("UPDATE run SET attempt = attempt + 1, worker = gen_random_uuid()")
        return told

    monkeypatch.setattr(use, "invoke", dies)
    await attempt(run)
    if (await reload(run))["status"] == "running":
        await expire_lease(run)
        await sweep()
    told = result(await goes_on(run, attempt))

    assert told["outcome"] == "rolled_back"
    assert lab.posts() == {"snapshots": 1, "start": 1}
    assert len(lab.cloud.snapshots) == 1
    assert [len(lab.keys(verb)) for verb in ("snapshots", "start")] == [1, 1]


# Who may


async def test_the_token_goes_along_and_one_that_is_not_there_is_told(handle, lab, monkeypatch):
    lab.cloud.token = "t0ken-of-the-cloud"
    monkeypatch.setenv("SLUICE_CLOUD__SECRET", "env:CLOUD_TOKEN")
    monkeypatch.setenv("CLOUD_TOKEN", "t0ken-of-the-cloud")
    settings.cache_clear()
    assert result(await handle({}))["outcome"] == "stopped"

    monkeypatch.delenv("CLOUD_TOKEN")
    row = await handle({})

    assert row["stop_reason"] == "tool_auth_failed"
    assert "CLOUD_TOKEN" in row["detail"]
    assert "t0ken" not in row["detail"]


async def test_without_a_cloud_it_says_how_to_connect_one(handle, monkeypatch):
    settings.cache_clear()

    row = await handle({})

    assert row["stop_reason"] == "tool_denied"
    assert "SLUICE_CLOUD__URL" in row["detail"]


@pytest.mark.parametrize("instance", ["../i-prod-db-1", "i-1/stop", "x", "i " * 9, "i-1?x=1"])
async def test_an_instance_is_named_by_one_word(submit, instance):
    with pytest.raises(Exception, match="instance_id"):
        await submit("cost-alert", IDLE | {"instance_id": instance})
