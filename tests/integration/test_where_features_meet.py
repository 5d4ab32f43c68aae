"""Proposals, edits, snapshots, levels and forks, where one meets the other."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import aiohttp
import pytest
from orjson import dumps, loads

from config.redaction import HIDDEN
from models.database import hot
from models.fork import Fork, fork
from models.request import Malformed
from models.review import Verdict
from models.tenant import create_key
from models.verdict import BadAnswer, NotOpen, answer
from producer.redacted import restored, shown
from producer.review_sheet import BadSheet, Decided
from tests import bound_pipelines, meeting_pipelines, proposing_pipelines
from tests.bound_pipelines import SENT
from tests.conftest import CATALOGUE, RULES, document, reload
from tests.proposing_pipelines import CLOSED
from tests.service import serving
from tests.snapshot_pipelines import KEPT, SHELF
from tools.tool import Ambiguous
from worker.claim import Claims
from worker.gatekeeper import Gatekeeper
from worker.gateway import Gateway
from worker.journal import Journal
from worker.pipelines.execute_proposal import with_execution
from worker.runner import Runner

CATALOGUE |= proposing_pipelines.PIPELINES | bound_pipelines.PIPELINES | meeting_pipelines.PIPELINES


@pytest.fixture(autouse=True)
def nothing_done():
    CLOSED.clear()
    SENT.clear()
    SHELF.clear()
    KEPT.clear()
    SHELF["n"] = 7


async def executing():
    return await hot().fetchval("SELECT id FROM run WHERE pipeline = 'execute-proposal'")


@pytest.fixture
async def shelved(submit, attempt):
    """A proposed write that wants a snapshot, approved; the run that is to make it."""
    run = await submit("shelver", {"way": "propose"})
    await attempt(run)
    assert (await reload(run))["stop_reason"] == "success", (await reload(run))["detail"]
    await answer(await hot().fetchval("SELECT id FROM review"), Verdict.APPROVED, who="jo")
    return await executing()


async def test_the_snapshot_of_a_proposal_waits_for_the_gate_of_its_pipeline_too(shelved, attempt):
    await hot().execute("INSERT INTO gate (scope, mode) VALUES ('pipeline:shelver', 'read_only')")

    await attempt(shelved)

    row = await reload(shelved)
    assert (row["waiting_for"], row["gate_scope"]) == ("gate", "pipeline:shelver")
    assert KEPT == {}


async def test_the_snapshot_of_a_proposal_is_under_the_policy_of_its_pipeline(
    shelved, attempt, governed
):
    governed("pipelines: {shelver: {tools: {deny: ['shelf.keep']}}}")

    await attempt(shelved)

    assert ((await reload(shelved))["stop_reason"], KEPT, SHELF) == ("tool_denied", {}, {"n": 7})


async def test_the_snapshot_of_a_proposal_is_taken_under_its_approval(shelved, attempt, world):
    """Not by a run that has lost the approval to another since it read the verdict."""
    world.breaks("shelf.keep", meeting_pipelines.BUSY, times=9)
    await attempt(shelved)
    world.broken.clear()
    await hot().execute("UPDATE review SET used_by = gen_random_uuid()")
    await hot().execute("UPDATE run SET dispatch_at = now() WHERE id = $1", shelved)

    await attempt(shelved)

    assert ((await reload(shelved))["stop_reason"], KEPT) == ("tool_denied", {})


async def test_an_approved_write_with_a_snapshot_is_made_once(shelved, attempt):
    await attempt(shelved)

    assert (await reload(shelved))["stop_reason"] == "success", (await reload(shelved))["detail"]
    assert (list(KEPT.values()), SHELF) == ([7], {"n": 1})


@pytest.mark.parametrize("scope", ["tool:account.mark", "pipeline:proposer"])
async def test_nothing_is_rehearsed_while_the_gate_is_closed(submit, attempt, monkeypatch, scope):
    asked = []
    rehearse = proposing_pipelines.mark.rehearse

    async def told(args, call):
        asked.append(args)
        return await rehearse(args, call)

    monkeypatch.setattr(proposing_pipelines, "_rehearsed", told)
    object.__setattr__(proposing_pipelines.mark, "rehearse", told)
    run = await submit("proposer", {"way": "rehearse"}, dry_run=True)
    await hot().execute("INSERT INTO gate (scope, mode) VALUES ($1, 'closed')", scope)
    try:
        await attempt(run)
    finally:
        object.__setattr__(proposing_pipelines.mark, "rehearse", rehearse)

    row = await reload(run)
    assert (row["waiting_for"], asked) == ("gate", []), (row["status"], row["stop_reason"])


async def test_an_edit_that_changes_nothing_is_a_yes(submit, attempt, governed):
    governed("tools: {approvals: {'mail.*': always}}")
    run = await submit("mailer", {"customer": "ann"})
    await attempt(run)
    review = await hot().fetchval("SELECT id FROM review")
    passed = document(await hot().fetchval("SELECT args FROM ledger_entry WHERE step = 'send'"))

    await answer(review, Verdict.EDITED, who="jo", value=passed)
    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], len(SENT)) == ("success", 1), row["detail"]


@pytest.mark.parametrize("value", [2**70, "\ud800", float("inf")])
async def test_an_edit_that_json_cannot_hold_is_refused(submit, attempt, governed, value):
    governed("tools: {approvals: {'mail.*': always}}")
    run = await submit("mailer", {"customer": "ann"})
    await attempt(run)
    review = await hot().fetchval("SELECT id FROM review")
    await hot().execute("UPDATE review SET answer_schema = '{}'")

    with pytest.raises(BadAnswer):
        await answer(review, Verdict.EDITED, who="jo", value={"to": value})

    assert await hot().fetchval("SELECT verdict FROM review") is None


async def test_what_a_snapshot_was_taken_for_is_not_edited_any_more(
    submit, attempt, governed, world
):
    """The approval grew too old while the gate was shut behind the snapshot."""
    governed("tools: {approvals: {'shelf.put': always}}")
    run = await submit("shelver", {"way": "call"})
    await attempt(run)
    review = "SELECT id FROM review WHERE verdict IS NULL"
    await answer(await hot().fetchval(review), Verdict.APPROVED, who="jo")
    world.breaks("shelf.put", meeting_pipelines.BUSY, times=9)
    await attempt(run)
    world.broken.clear()
    assert len(KEPT) == 1, (await reload(run))["detail"]
    await hot().execute("UPDATE review SET use_by = now() - interval '1 s'")
    await hot().execute("UPDATE run SET dispatch_at = now() WHERE id = $1", run)
    await attempt(run)
    assert (await reload(run))["waiting_for"] == "review", (await reload(run))["detail"]

    again = await hot().fetchval(review)
    with pytest.raises(BadAnswer):
        await answer(again, Verdict.EDITED, who="jo", value={"n": 3})
    await answer(again, Verdict.APPROVED, who="jo")
    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], SHELF) == ("success", {"n": 1}), row["detail"]


async def test_beside_a_roll_back_a_lowered_run_writes_nothing_else(submit, attempt):
    run = await submit("shelver", {"way": "beside"})

    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], SHELF) == ("success", {"n": 7}), row["detail"]
    assert await hot().fetchval("SELECT kind FROM review") == "proposal"


async def test_a_fork_takes_no_key_of_a_proposal(submit, attempt):
    run = await submit("proposer", {})
    await attempt(run)
    review = await hot().fetchval("SELECT id FROM review")

    with pytest.raises(Malformed, match="approved proposals"):
        await fork(Fork(run, "close", f"proposal:{review}", "ada"))


async def test_a_fork_of_an_executed_proposal_makes_nothing_again(submit, attempt):
    run = await submit("proposer", {})
    await attempt(run)
    await answer(await hot().fetchval("SELECT id FROM review"), Verdict.APPROVED, who="jo")
    await attempt(await executing())
    assert len(CLOSED) == 1

    made = await fork(Fork(await executing(), "call", "again", "ada", writes_again=True))
    await attempt(made.run_id)

    assert ((await reload(made.run_id))["stop_reason"], len(CLOSED)) == ("tool_denied", 1)


async def test_a_late_verdict_on_a_question_that_was_asked_anew_is_none(submit, attempt, governed):
    """Whoever has the first question before them has not seen what the second is about."""
    governed("tools: {approvals: {'mail.*': always}}")
    run = await submit("mailer", {"customer": "ann"})
    await attempt(run)
    first = await hot().fetchval("SELECT id FROM review")
    other = {"to": "bob", "text": "Hello", "kind": "reminder", "amount": "7"}
    await answer(first, Verdict.EDITED, who="jo", value=other)
    await hot().execute("UPDATE review SET use_by = now() - interval '1 s'")
    await attempt(run)
    assert (await reload(run))["waiting_for"] == "review"

    with pytest.raises(NotOpen):
        await answer(first, Verdict.APPROVED, who="al")

    await answer(await hot().fetchval("SELECT id FROM review"), Verdict.APPROVED, who="al")
    await attempt(run)
    assert [each.to for each in SENT] == ["bob"]


@pytest.mark.parametrize("way", ["close", "propose"])
async def test_of_two_runs_in_one_batch_one_makes_the_approved_call(
    submit, attempt, monkeypatch, way
):
    name = "proposer" if way == "close" else "shelver"
    run = await submit(name, {"way": way})
    await attempt(run)
    review = await hot().fetchval("SELECT id FROM review")
    await answer(review, Verdict.APPROVED, who="jo")
    given = {"proposal": str(review)}
    runs = [await executing(), *[await submit("execute-proposal", given) for _ in range(4)]]
    catalogue = with_execution(CATALOGUE)
    holds = await Claims(uuid4(), list(catalogue), 9).take(50, held={})
    journal = Journal(patience=timedelta(seconds=2))
    gatekeeper = Gatekeeper(RULES, patience_s=2)
    await gatekeeper.look()
    gateway = Gateway(journal, gatekeeper, RULES, send_before_s=2)
    runner = Runner(catalogue, journal, gateway, bug_limit=3)
    together, intend, came = asyncio.Barrier(len(runs)), journal.intend, set()

    async def at_once(entry):
        if entry.run_id not in came:
            came.add(entry.run_id)
            await together.wait()
        await intend(entry)

    monkeypatch.setattr(journal, "intend", at_once, raising=False)
    await asyncio.gather(*(runner.run(held) for held in holds))

    ends = sorted([(await reload(each))["stop_reason"] for each in runs], key=str)
    assert (len(CLOSED), len(KEPT)) == ((1, 0) if way == "close" else (0, 1)), ends
    assert ends == ["success"] + ["tool_denied"] * 4


async def test_a_snapshot_in_doubt_is_settled_though_its_write_is_withheld_by_now(
    submit, attempt, world
):
    run = await submit("shelver", {"way": "call"})
    world.loses_answer("shelf.keep", Ambiguous("no answer"), times=9)
    await attempt(run)
    assert (await reload(run))["status"] != "finished"
    world.broken.clear()
    world.after.clear()
    await hot().execute("INSERT INTO autonomy VALUES ('acme', 'shelver', 'observe', 'jo', '')")
    await hot().execute("UPDATE ledger_entry SET quiet_at = now() - interval '1 h'")
    await hot().execute("UPDATE run SET dispatch_at = now() WHERE id = $1", run)

    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], SHELF, len(KEPT)) == ("proposed", {"n": 7}, 1), row["detail"]
    state = "SELECT state FROM ledger_entry WHERE step = 'put/snapshot'"
    assert await hot().fetchval(state) == "settled"


async def test_what_the_policy_lets_nobody_take_back_is_not_reversible(submit, attempt, governed):
    governed("{autonomy: {level: reversible}, tools: {deny: ['shelf.restore']}}")
    run = await submit("shelver", {"way": "call"})

    await attempt(run)

    assert ((await reload(run))["stop_reason"], SHELF, KEPT) == ("proposed", {"n": 7}, {})


async def test_what_can_be_taken_back_is_made_where_only_that_may_be(submit, attempt, governed):
    governed("{autonomy: {level: reversible}}")
    run = await submit("shelver", {"way": "call"})

    await attempt(run)

    assert ((await reload(run))["stop_reason"], SHELF) == ("success", {"n": 1})


async def test_a_number_of_a_verdict_is_what_was_sent_or_refused(
    submit, attempt, governed, opened, sluice
):
    """Read as a float, 2**64 + 1 would be another number without a word."""
    governed("tools: {approvals: {'mail.*': always}}")
    await attempt(await submit("mailer", {"customer": "ann"}))
    review = await hot().fetchval("SELECT id FROM review")
    await hot().execute("UPDATE review SET answer_schema = '{}'")
    headers = {"Authorization": f"Bearer {await create_key('acme')}"}
    said = '{"verdict": "edited", "answer": {"amount": 18446744073709551617}}'

    async with serving(opened) as url, aiohttp.ClientSession(headers=headers) as client:
        told = await client.post(f"{url}/v1/reviews/{review}/verdict", data=said)
    code, _, _ = await sluice("answer", str(review), "--edit", '{"amount": 18446744073709551617}')

    assert (told.status // 100, code != 0) == (4, True), await told.text()
    assert await hot().fetchval("SELECT verdict FROM review") is None


def test_a_sheet_that_says_approve_edits_no_call():
    """Spreadsheets make 7 of 007 by themselves."""
    line = Decided("row 2", uuid4(), Verdict.APPROVED, None, {"id": "7"})

    for kind in ("approval", "proposal"):
        with pytest.raises(BadSheet, match="row 2: the verdict is approve, but id"):
            line.answer({"id": "007"}, kind)
    assert line.answer({"id": "007"}, "uncertain") == (Verdict.EDITED, {"id": "7"})
    edited = line._replace(verdict=Verdict.EDITED)
    assert edited.answer({"id": "007"}, "approval") == (Verdict.EDITED, {"id": "7"})


def test_a_cell_that_may_be_one_or_a_thousand_is_refused():
    line = Decided("row 2", uuid4(), Verdict.EDITED, None, {"n": "1,000"})

    with pytest.raises(BadSheet, match=r"answer\.n"):
        line.answer({"n": 5})
    assert line._replace(edits={"n": "1,50"}).answer({"n": 5}) == (Verdict.EDITED, {"n": 1.5})


@pytest.mark.parametrize(
    ("answered", "sent"),
    [
        ({"to": ["api_key=HIDDEN", "b"], "n": 2}, {"to": ["api_key=hush123", "b"], "n": 2}),
        ({"to": ["api_key=HIDDEN"], "n": 1}, None),
        ({"to": ["and api_key=HIDDEN", "b"], "n": 1}, None),
        ({"to": ["api_key=HIDDEN", "b"], "n": 1, "also": "HIDDEN"}, None),
        ({"to": ["c"], "n": 1}, {"to": ["c"], "n": 1}),
    ],
)
def test_what_its_editor_could_not_see_is_put_back_or_the_edit_is_refused(answered, sent):
    """Never sent as the sign that stands for it."""
    whole = {"to": ["api_key=hush123", "b"], "n": 1}
    seen = shown(dumps(whole))
    assert seen["to"] == [f"api_key={HIDDEN}", "b"]
    given = loads(dumps(answered).replace(b"HIDDEN", HIDDEN.encode()))

    if sent is None:
        with pytest.raises(BadAnswer, match="cannot see"):
            restored(given, whole, seen)
    else:
        assert restored(given, whole, seen) == sent
    assert restored({"to": HIDDEN}, {"to": "b"}, {"to": "b"}) == {"to": HIDDEN}, "nothing is hidden"
