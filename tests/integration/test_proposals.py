"""Proposals: a call that its run does not make; a person's yes makes a request of it."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import aiohttp
import pytest

from models.admission import Admission
from models.cancel import cancel
from models.database import dedicated, hot
from models.request import Malformed, Request
from models.review import Verdict
from models.run import RunStatus, StopReason
from models.tenant import create_key
from models.tombstone import FIRST, bury
from models.verdict import BadAnswer, NotOpen, answer, expire
from tests import proposing_pipelines
from tests.conftest import CATALOGUE, RULES, document, expire_lease, finished, reload, until
from tests.proposing_pipelines import CLOSED
from tests.service import serving
from tools.tool import Ambiguous, Unavailable
from worker.claim import Claims
from worker.departure import Departure, leave
from worker.gatekeeper import Gatekeeper
from worker.gateway import Gateway
from worker.journal import Journal
from worker.pipelines.execute_proposal import with_execution
from worker.runner import Runner

CATALOGUE |= proposing_pipelines.PIPELINES


@pytest.fixture(autouse=True)
def nobody_closed():
    CLOSED.clear()


@pytest.fixture
async def proposed(submit, attempt):
    """A run that is over and has proposed something, and the proposal's id."""
    run = await submit("proposer", {})
    await attempt(run)
    assert (await reload(run))["stop_reason"] == "success"
    return run, await hot().fetchval("SELECT id FROM review")


async def executing():
    """The run that an approved proposal became."""
    return await hot().fetchval("SELECT id FROM run WHERE pipeline = 'execute-proposal'")


async def test_a_proposal_is_put_to_a_person_and_its_run_goes_on(proposed):
    run, review = proposed
    row = await hot().fetchrow("SELECT * FROM review")
    step = await hot().fetchrow("SELECT * FROM ledger_entry WHERE step = 'close'")

    assert document((await reload(run))["result"])["id"] == str(review)
    assert (row["kind"], row["verdict"], row["step"]) == ("proposal", None, "close")
    assert document(row["proposal"]) == {"id": "ann", "refund": "0", "how": "gently"}
    assert document(row["answer_schema"])["additionalProperties"] is False
    assert "it is unused" in row["question"]
    assert (step["kind"], step["state"], step["tool"]) == ("propose", "settled", "account.close")
    assert CLOSED == []
    assert ((await reload(run))["steps"], (await reload(run))["calls"]) == (1, 1)


async def test_an_approved_proposal_becomes_a_request_of_its_own_and_is_made_once(
    proposed, attempt
):
    run, review = proposed
    shown = document(await hot().fetchval("SELECT proposal FROM review"))

    assert await answer(review, Verdict.APPROVED, who="jo") == run
    new = await executing()
    assert (await reload(new))["key"] == f"proposal:{review}"
    await attempt(new)

    row = await reload(new)
    result = document(row["result"])
    assert (row["stop_reason"], row["tenant"]) == ("success", "acme")
    assert [each.model_dump(mode="json") for each in CLOSED] == [shown]
    assert result["outcome"] == {"id": "ann", "done": True}
    assert (result["tool"], result["edited"]) == ("account.close", False)
    steps = await hot().fetch(
        "SELECT step, kind, effect FROM ledger_entry WHERE run_id = $1 ORDER BY number", new
    )
    assert [tuple(each) for each in steps] == [
        ("verdict", "decide", None),
        ("call", "call", "destructive"),
    ]


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        ("UPDATE review SET args_hash = sha256('another')", "exactly these arguments"),
        ("""UPDATE review SET proposal = '{"id": "eve"}'""", "exactly these arguments"),
        ("UPDATE review SET use_by = now() - interval '1 s'", "too long ago"),
        ("UPDATE review SET verdict = 'rejected'", "not approved"),
        ("UPDATE review SET kind = 'approval'", "none of this tenant's"),
        ("UPDATE review SET tenant = 'umbrella'", "none of this tenant's"),
        ("UPDATE review SET used_by = gen_random_uuid()", "carried out already"),
        ("UPDATE ledger_entry SET tool = 'account.note'", "exactly these arguments"),
        ("SELECT 1", None),
    ],
)
async def test_a_proposal_that_is_not_exactly_what_was_approved_moves_nothing(
    proposed, attempt, spoilt, told
):
    _, review = proposed
    await answer(review, Verdict.APPROVED, who="jo")
    await hot().execute(spoilt)

    await attempt(await executing())

    row = await reload(await executing())
    assert len(CLOSED) == (told is None)
    if told:
        assert row["stop_reason"] == "tool_denied"
        assert told in row["detail"]
        assert await hot().fetchval("SELECT guard FROM call_audit") == "approval"


@pytest.mark.parametrize(
    "spoilt",
    [
        "UPDATE review SET use_by = now() - interval '1 s'",
        "UPDATE review SET args_hash = sha256('another')",
        "UPDATE review SET tenant = 'umbrella'",
        "UPDATE review SET kind = 'approval'",
        "UPDATE review SET verdict = 'rejected'",
        "UPDATE review SET used_by = gen_random_uuid()",
    ],
)
async def test_the_intent_itself_looks_at_the_verdict(proposed, attempt, world, spoilt):
    """After the verdict was read, and before the call leaves."""
    _, review = proposed
    await answer(review, Verdict.APPROVED, who="jo")
    new = await executing()
    world.breaks("account.close", Unavailable("busy"), times=9)
    await attempt(new)
    await hot().execute("UPDATE run SET dispatch_at = now()")
    world.broken.clear()
    await hot().execute(spoilt)

    await attempt(new)

    assert (CLOSED, (await reload(new))["stop_reason"]) == ([], "tool_denied")


_WAITING = """
    SELECT count(*) >= 2 FROM pg_stat_activity
     WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


async def _runner(catalogue):
    """A worker's, with a journal and a gateway of its own."""
    journal = Journal(patience=timedelta(seconds=2))
    gatekeeper = Gatekeeper(RULES, patience_s=2)
    await gatekeeper.look()
    gateway = Gateway(journal, gatekeeper, RULES, send_before_s=2)
    return Runner(catalogue, journal, gateway, bug_limit=3)


async def test_ten_requests_for_one_approval_make_one_call(proposed, submit):
    _, review = proposed
    await answer(review, Verdict.APPROVED, who="jo")
    given = {"proposal": str(review)}
    runs = [await executing(), *[await submit("execute-proposal", given) for _ in range(9)]]
    catalogue = with_execution(CATALOGUE)
    claims = Claims(uuid4(), list(catalogue), 9)
    holds = await claims.take(50, held={})
    runners = [await _runner(catalogue) for _ in holds]

    connection = await dedicated()
    async with connection.transaction():
        await connection.execute("SELECT FROM review FOR UPDATE")
        racing = [
            asyncio.create_task(runner.run(held))
            for runner, held in zip(runners, holds, strict=True)
        ]
        while not await connection.fetchval(_WAITING):  # each of them saw it unused
            await connection.execute("SELECT pg_stat_clear_snapshot()")
            await asyncio.sleep(0.05)
    await asyncio.gather(*racing)
    await connection.close()

    ends = [(await reload(run))["stop_reason"] for run in runs]
    assert len(CLOSED) == 1
    assert sorted(ends) == ["success"] + ["tool_denied"] * 9


async def test_ten_workers_racing_on_one_approved_proposal_make_the_call_once(proposed, attempt):
    _, review = proposed
    await answer(review, Verdict.APPROVED, who="jo")
    new = await executing()

    await asyncio.gather(*(attempt(new) for _ in range(10)))

    assert len(CLOSED) == 1


async def test_nobody_carries_out_what_is_not_approved_or_another_tenants(
    proposed, submit, attempt
):
    _, review = proposed
    early = await submit("execute-proposal", {"proposal": str(review)})
    await attempt(early)
    await answer(review, Verdict.APPROVED, who="jo")
    foreign = await submit("execute-proposal", {"proposal": str(review)}, tenant="umbrella")
    await attempt(foreign)
    nothing = await submit("execute-proposal", {"proposal": str(uuid4())}, tenant="umbrella")
    await attempt(nothing)

    rows = [await reload(each) for each in (early, foreign, nothing)]
    assert [each["stop_reason"] for each in rows] == ["tool_denied"] * 3
    assert "nobody has answered yet" in rows[0]["detail"]
    assert rows[1]["detail"].replace(str(review), "X") == rows[2]["detail"].replace(
        rows[2]["detail"].split()[1], "X"
    ), "another tenant's is as if there were none"
    assert CLOSED == []


async def test_a_dry_run_carries_out_nothing_and_uses_no_approval_up(proposed, submit, attempt):
    _, review = proposed
    await answer(review, Verdict.APPROVED, who="jo")
    real = await executing()
    later = "UPDATE run SET dispatch_at = now() + $2::int * interval '1 h' WHERE id = $1"
    await hot().execute(later, real, 1)  # so that whoever claims has the dry one alone
    dry = await submit("execute-proposal", {"proposal": str(review)}, dry_run=True)

    await attempt(dry)

    assert (await reload(dry))["stop_reason"] == StopReason.PROPOSED
    assert CLOSED == []
    await hot().execute(later, real, 0)
    await attempt(real)
    assert (await reload(real))["stop_reason"] == "success", (await reload(real))["detail"]
    assert len(CLOSED) == 1


async def test_the_keys_of_proposals_are_no_clients(database):
    with pytest.raises(Malformed, match="approved proposals"):
        await Admission(patience_s=2)(Request("acme", f"proposal:{uuid4()}", "proposer", {}))


async def test_a_rejected_or_unanswered_proposal_becomes_nothing(proposed, submit, attempt):
    _, review = proposed
    await answer(review, Verdict.REJECTED, who="jo", note="she uses it")
    with pytest.raises(NotOpen):
        await answer(review, Verdict.APPROVED, who="al")
    late = await submit("proposer", {})
    await attempt(late)
    await hot().execute("UPDATE review SET decide_by = now() WHERE run_id = $1", late)
    await expire()

    assert await executing() is None
    assert {row[0] for row in await hot().fetch("SELECT verdict FROM review")} == {
        "rejected", "expired",
    }  # fmt: skip


async def test_two_people_approving_at_once_make_one_request(proposed):
    _, review = proposed

    told = await asyncio.gather(
        *(answer(review, Verdict.APPROVED, who=f"jo{n}") for n in range(5)), return_exceptions=True
    )

    assert sum(isinstance(each, NotOpen) for each in told) == 4
    assert await hot().fetchval("SELECT count(*) FROM run WHERE pipeline = 'execute-proposal'") == 1


async def test_a_replay_proposes_nothing_anew(submit, attempt):
    run = await submit("proposer", {"way": "close and wait"})
    await attempt(run)
    row = await reload(run)
    assert row["waiting_for"] == "review"
    sure = await hot().fetchval("SELECT id FROM review WHERE kind = 'uncertain'")
    proposal = await hot().fetchval("SELECT id FROM review WHERE kind = 'proposal'")

    await answer(sure, Verdict.APPROVED, who="jo")
    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], document(row["result"])["id"]) == ("success", str(proposal))
    assert await hot().fetchval("SELECT count(*) FROM review") == 2


async def test_a_waiting_run_does_not_wait_for_what_it_has_proposed(submit, attempt):
    run = await submit("proposer", {"way": "close and wait"}, subject="account:ann")
    await attempt(run)
    proposal = await hot().fetchval("SELECT id FROM review WHERE kind = 'proposal'")

    await answer(proposal, Verdict.APPROVED, who="jo")
    assert (await reload(run))["status"] == "waiting"
    assert await attempt(await executing()) is None, "its subject is taken"
    await answer(
        await hot().fetchval("SELECT id FROM review WHERE kind = 'uncertain'"),
        Verdict.APPROVED, who="jo",
    )  # fmt: skip
    await attempt(run)
    await attempt(await executing())

    assert (await reload(await executing()))["stop_reason"] == "success"


@pytest.mark.parametrize("when", ["waiting", "running"])
async def test_what_a_cancelled_run_has_proposed_is_withdrawn(submit, attempt, world, when):
    run = await submit("proposer", {"way": "close and wait"})
    await attempt(run)
    if when == "running":
        await hot().execute(
            "UPDATE run SET status = 'queued', waiting_for = NULL, dispatch_at = now()"
        )
        await hot().execute(
            "UPDATE run SET status = 'running', waiting_for = NULL, worker = gen_random_uuid(),"
            " lease_expires_at = now() + interval '1 h'"
        )
        await hot().execute("DELETE FROM review WHERE kind = 'uncertain'")
    await cancel(run, who="jo", reason="")
    if when == "running":
        row = await reload(run)
        over = {"status": RunStatus.FINISHED, "stop_reason": StopReason.CANCELLED}
        gone = Departure(run, row["attempt"], active_s=0.0, **over)
        assert await leave([gone]) == [None]

    verdicts = {row[0] for row in await hot().fetch("SELECT verdict FROM review")}
    assert verdicts == {"withdrawn"}


async def test_what_is_open_or_under_way_is_not_purged(proposed, attempt):
    run, review = proposed
    old = (
        "UPDATE run SET created_at = now() - interval '9 days',"
        " finished_at = now() - interval '9 days'"
    )
    await hot().execute(old)
    await bury(FIRST, payload_s=3600)
    assert await reload(run) is not None
    await answer(review, Verdict.APPROVED, who="jo")
    await bury(FIRST, payload_s=3600)
    await attempt(await executing())
    assert len(CLOSED) == 1

    await hot().execute("UPDATE review SET use_by = now()")
    await hot().execute(old + " WHERE finished_at IS NOT NULL")
    await bury(FIRST, payload_s=3600)

    assert await reload(run) is None


async def test_the_proposing_pipelines_policy_counts(proposed, attempt, governed):
    governed("pipelines: {proposer: {tools: {deny: ['account.*']}}}")
    _, review = proposed
    await answer(review, Verdict.APPROVED, who="jo")

    await attempt(await executing())

    row = await reload(await executing())
    assert (row["stop_reason"], CLOSED) == ("tool_denied", [])
    assert "account.close is not allowed" in row["detail"]


async def test_it_waits_for_the_gate_of_the_pipeline_that_proposed_it(proposed, attempt):
    _, review = proposed
    await answer(review, Verdict.APPROVED, who="jo")
    await hot().execute("INSERT INTO gate (scope, mode) VALUES ('pipeline:proposer', 'read_only')")

    await attempt(await executing())

    row = await reload(await executing())
    assert (row["waiting_for"], row["gate_scope"], CLOSED) == ("gate", "pipeline:proposer", [])


async def test_a_destructive_call_in_doubt_is_a_persons_to_settle(proposed, attempt, world):
    _, review = proposed
    await answer(review, Verdict.APPROVED, who="jo")
    world.loses_answer("account.close", Ambiguous("no answer"))

    for _ in range(2):
        await attempt(await executing())
        await hot().execute(
            "UPDATE ledger_entry SET quiet_at = now() - interval '1 h',"
            " created_at = created_at - interval '1 h'"
        )
        await hot().execute("UPDATE run SET dispatch_at = now()")

    assert (await reload(await executing()))["waiting_for"] == "review"
    assert await hot().fetchval("SELECT kind FROM review WHERE verdict IS NULL") == "in_doubt"
    assert len(CLOSED) == 1


async def test_a_worker_without_the_tool_leaves_it_to_another(proposed, attempt):
    _, review = proposed
    await answer(review, Verdict.APPROVED, who="jo")
    gone = CATALOGUE.pop(("proposer", 1))
    try:
        await attempt(await executing())
    finally:
        CATALOGUE["proposer", 1] = gone

    row = await reload(await executing())
    assert (row["status"], row["waiting_for"]) == ("queued", "worker")
    assert "no account.close" in row["detail"]


async def test_a_crash_in_the_middle_makes_the_call_once(proposed, attempt, world):
    _, review = proposed
    await answer(review, Verdict.APPROVED, who="jo")
    world.breaks("account.close", MemoryError("its worker dies here"))
    new = await executing()
    await attempt(new)
    await expire_lease(new)
    await hot().execute("UPDATE run SET dispatch_at = now()")
    await hot().execute("UPDATE ledger_entry SET quiet_at = now() - interval '1 h'")

    await attempt(new)

    assert (await reload(new))["waiting_for"] == "review", "whether it happened, nobody knows"
    assert CLOSED == []


async def test_an_edited_proposal_is_carried_out_as_edited(proposed, attempt):
    _, review = proposed
    value = {"id": "ann", "refund": "5.00", "how": "at once"}

    await answer(review, Verdict.EDITED, who="jo", value=value)
    await attempt(await executing())

    assert [each.model_dump(mode="json") for each in CLOSED] == [value]
    assert document((await reload(await executing()))["result"])["edited"] is True
    labels = document(await hot().fetchval("SELECT labels FROM ledger_entry WHERE step = 'call'"))
    assert labels["/how"] == {"trust": "trusted", "by": "a person"}
    assert labels["/id"]["from"] == ["input:/id"]


async def test_an_edit_that_does_not_fit_is_refused_at_once_or_by_the_tool(proposed, attempt):
    _, review = proposed
    for value in ({"id": "ann", "eve": 1}, {"id": 5}, {"id": "x" * 21}):
        with pytest.raises(BadAnswer):
            await answer(review, Verdict.EDITED, who="jo", value=value)
    await hot().execute("UPDATE review SET answer_schema = '{}'")
    await answer(review, Verdict.EDITED, who="jo", value={"id": "x" * 21})

    await attempt(await executing())

    row = await reload(await executing())
    assert (row["stop_reason"], CLOSED) == ("tool_denied", [])
    assert "/id" in row["detail"]


@pytest.mark.parametrize(
    ("way", "told"), [("destroy", "flow.propose"), ("read", "nothing to propose")]
)
async def test_what_is_destructive_is_only_ever_proposed_and_a_read_never(
    submit, attempt, way, told
):
    run = await submit("proposer", {"way": way})

    await attempt(run)

    assert told in (await reload(run))["detail"]
    assert CLOSED == []


async def test_from_outside_it_is_seen_edited_and_carried_out_by_a_worker_process(
    fleet, submit, sluice, opened
):
    """Two workers with a catalogue of their own; an operator at a terminal, a client over HTTP."""
    fleet.workers(2, WORKER__CATALOGUES='["tests.proposing_pipelines"]')
    run = await submit("proposer", {})
    await until(lambda: finished(1))
    review = await hot().fetchval("SELECT id FROM review")

    _, listed, _ = await sluice("reviews")
    assert "proposal, account.close: 1" in listed
    _, shown, _ = await sluice("show", str(run))
    assert f"proposal {review}  account.close  open" in shown
    code, said, told = await sluice("answer", str(review), "--edit", '{"id": "bob"}')
    assert code == 0, told
    assert "made by a request of its own" in said
    await until(lambda: finished(2))

    new = await reload(await executing())
    assert (new["stop_reason"], document(new["result"])["outcome"]["id"]) == ("success", "bob")
    _, shown, _ = await sluice("show", str(run))
    assert f"approved  run {new['id']} success" in shown
    headers = {"Authorization": f"Bearer {await create_key('acme')}"}
    async with serving(opened) as url, aiohttp.ClientSession(headers=headers) as client:
        answered = await client.get(f"{url}/v1/runs/{run}")
        (seen,) = (await answered.json())["proposals"]
    assert (seen["state"], seen["arguments"]) == ("approved", {"id": "bob"})
    assert (seen["idempotency_key"], seen["run_id"]) == (f"proposal:{review}", str(new["id"]))
    assert (seen["tool"], seen["stop_reason"]) == ("account.close", "success")
