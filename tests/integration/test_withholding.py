"""What a run may not do by itself: its writes are proposed, or rehearsed, and not made."""

import pytest

from models.autonomy import Autonomy
from models.database import hot
from models.proposal import became
from models.review import Verdict
from models.verdict import NotOpen, answer
from tests import act_pipelines, plan_pipelines, proposing_pipelines, snapshot_pipelines
from tests.act_pipelines import SCRIPT, SENT, VIEWS, Done, Task, answers, calls
from tests.conftest import CATALOGUE, document, reload
from tests.plan_pipelines import PLANNER, call, plans
from tests.proposing_pipelines import CLOSED, mark, note
from tests.snapshot_pipelines import KEPT, SHELF
from tools.tool import Unavailable
from worker.agents.agent import offer
from worker.flow import Flow
from worker.gateway import Gateway
from worker.pipeline import pipeline

CATALOGUE |= proposing_pipelines.PIPELINES | act_pipelines.PIPELINES
CATALOGUE |= snapshot_pipelines.PIPELINES


@pytest.fixture(autouse=True)
def nothing_done():
    for each in (CLOSED, SENT, VIEWS):
        each.clear()


@pytest.fixture
def autonomy(monkeypatch):
    """Whatever the policy says of it: `autonomy(Autonomy.OBSERVE)`."""
    made, now = Gateway.call, [Autonomy.ACT]

    async def call(self, held, *more, **how):
        held.autonomy = now[0]
        return await made(self, held, *more, **how)

    monkeypatch.setattr(Gateway, "call", call)
    return lambda level: now.__setitem__(0, level)


async def asked():
    return await hot().fetchrow("SELECT * FROM review WHERE kind = 'proposal'")


async def test_who_only_observes_proposes_and_may_go_on(submit, attempt, autonomy, world):
    autonomy(Autonomy.OBSERVE)
    run = await submit("proposer", {"way": "write"})
    await attempt(run)

    row, review = await reload(run), await asked()
    assert (row["stop_reason"], document(row["result"])["way"]) == ("success", "proposed")
    assert document(review["proposal"]) == {"id": "ann", "refund": "0", "how": "gently"}
    assert "only observes" in review["question"]
    assert (world.count("account.note"), row["reserved_usd"]) == (0, 0)
    entry = await hot().fetchrow("SELECT kind, state, effect FROM ledger_entry")
    assert tuple(entry) == ("propose", "rejected", None)


async def test_where_nobody_catches_it_the_run_ends_as_proposed_and_keeps_what_it_has(
    submit, attempt, autonomy
):
    autonomy(Autonomy.OBSERVE)
    run = await submit("proposer", {"way": "write and stop"})
    await attempt(run)

    row, review = await reload(run), await asked()
    assert (row["stop_reason"], CLOSED) == ("proposed", [])
    assert document(row["partial"])["way"] == "write and stop"
    assert str(review["id"]) in row["detail"]


async def test_a_rehearsal_stands_for_the_call_on_every_replay(submit, attempt, autonomy):
    autonomy(Autonomy.OBSERVE)
    run = await submit("proposer", {"way": "rehearse and wait"})
    await attempt(run)
    assert (await reload(run))["waiting_for"] == "review"
    autonomy(Autonomy.ACT)  # what was withheld stays so
    sure = await hot().fetchval("SELECT id FROM review WHERE kind = 'uncertain'")
    await answer(sure, Verdict.APPROVED, who="jo")
    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], document(row["result"])["way"]) == ("success", "done: False")
    assert CLOSED == []
    entry = await hot().fetchrow("SELECT kind, state FROM ledger_entry WHERE step = 'mark'")
    assert tuple(entry) == ("propose", "settled")


async def test_what_was_withheld_is_done_when_a_person_approves_it(submit, attempt, autonomy):
    """Whatever the tenant's autonomy: a person has decided."""
    autonomy(Autonomy.OBSERVE)
    await attempt(await submit("proposer", {"way": "rehearse"}))
    await answer((await asked())["id"], Verdict.APPROVED, who="jo")

    new = await hot().fetchval("SELECT id FROM run WHERE pipeline = 'execute-proposal'")
    await attempt(new)

    assert ((await reload(new))["stop_reason"], len(CLOSED)) == ("success", 1)


async def test_what_the_rehearsal_is_refused_is_not_proposed(submit, attempt, autonomy):
    autonomy(Autonomy.OBSERVE)
    run = await submit("proposer", {"way": "rehearse", "id": "nobody"})
    await attempt(run)

    assert ((await reload(run))["stop_reason"], await asked()) == ("tool_failed", None)


@pytest.mark.parametrize(
    ("way", "level", "done"),
    [("undo", "reversible", 1), ("write", "reversible", 0), ("write", "act", 1)],
)
async def test_what_can_be_taken_back_is_done_by_who_may_do_that(
    submit, attempt, autonomy, way, level, done
):
    autonomy(Autonomy(level))
    run = await submit("proposer", {"way": way})
    await attempt(run)

    assert ((await reload(run))["stop_reason"], len(CLOSED)) == ("success", done)
    assert (await asked() is None) == bool(done)


async def test_who_only_observes_does_not_even_what_can_be_taken_back(submit, attempt, autonomy):
    autonomy(Autonomy.OBSERVE)
    run = await submit("proposer", {"way": "undo"})
    await attempt(run)

    assert ((await reload(run))["stop_reason"], CLOSED) == ("proposed", [])
    read = await hot().fetchval("SELECT kind FROM ledger_entry WHERE step = 'look'")
    assert read == "call", "reads are made"


async def test_taking_back_is_not_withheld(submit, attempt, autonomy, world):
    run = await submit("proposer", {"way": "undo"})
    invoke = world.invoke

    async def then_observe(tool, args, call):
        if tool is proposing_pipelines.freeze:
            autonomy(Autonomy.OBSERVE)
        return await invoke(tool, args, call)

    world.invoke = then_observe
    await attempt(run)

    assert ((await reload(run))["stop_reason"], await asked()) == ("success", None)
    assert world.count("account.open") == 1


async def test_a_call_that_waits_for_its_tool_is_withheld_when_autonomy_is_taken(
    submit, attempt, autonomy, world
):
    world.breaks("account.note", Unavailable("busy"), times=9)
    run = await submit("proposer", {"way": "write"})
    await attempt(run)
    assert (await reload(run))["waiting_for"] == "tool"
    world.broken.clear()
    autonomy(Autonomy.OBSERVE)
    await hot().execute("UPDATE run SET dispatch_at = now()")
    await attempt(run)

    row = await reload(run)
    assert (document(row["result"])["way"], CLOSED) == ("proposed", [])
    assert (row["steps"], row["calls"]) == (1, 1)


async def test_a_model_is_told_that_its_write_is_proposed_and_goes_on(submit, attempt, autonomy):
    autonomy(Autonomy.OBSERVE)
    SCRIPT[:] = [calls("mail.answer", to="ann"), answers()]
    run = await submit("acting", {})
    await attempt(run)

    complaint = VIEWS[1].history[0]["complaints"][0]
    assert ((await reload(run))["stop_reason"], SENT) == ("success", [])
    assert complaint == {"code": "proposed", "advice": "stop", "id": str((await asked())["id"])}


@pytest.mark.parametrize(("level", "put", "kept"), [("observe", 0, 0), ("reversible", 3, 1)])
async def test_a_snapshot_is_taken_with_its_write_or_not_at_all(
    submit, attempt, autonomy, level, put, kept
):
    SHELF["n"] = 0
    KEPT.clear()
    autonomy(Autonomy(level))

    await attempt(await submit("keeps", {"n": 3}))

    assert (SHELF["n"], len(KEPT)) == (put, kept)


async def test_an_approved_write_has_its_snapshot_first(submit, attempt, autonomy):
    SHELF["n"] = 0
    KEPT.clear()
    autonomy(Autonomy.OBSERVE)
    await attempt(await submit("keeps", {"n": 3}))
    await answer((await asked())["id"], Verdict.EDITED, who="jo", value={"n": 4})

    new = await hot().fetchval("SELECT id FROM run WHERE pipeline = 'execute-proposal'")
    await attempt(new)

    assert (await reload(new))["stop_reason"] == "success"
    assert (SHELF["n"], list(KEPT.values())) == (4, [0])


async def test_what_a_dry_run_would_do_is_listed_with_it_and_nobody_is_asked(submit, attempt):
    run = await submit("proposer", {"way": "write"}, dry_run=True)
    await attempt(run)

    [would] = await became(run)
    assert (would["state"], would["tool"], would["note"]) == (
        "withdrawn", "account.note", "a dry run asks nobody",
    )  # fmt: skip
    assert document(would["proposal"])["id"] == "ann"
    with pytest.raises(NotOpen):
        await answer(would["id"], Verdict.APPROVED, who="ann")
    assert await hot().fetchval("SELECT count(*) FROM run") == 1
    assert CLOSED == []


@pipeline("plans-of-accounts", version=1, tools=[mark, note])
async def plans_of_accounts(flow: Flow, task: Task) -> Done:
    """One of its writes can be rehearsed, and the other cannot."""
    return await flow.plan("work", PLANNER, goal=task.goal, offers=[offer(mark), offer(note)])


async def test_what_a_plan_has_rehearsed_is_no_persons_no_to_a_replay(submit, attempt, governed):
    shown = []

    def stumbles_once(view):
        shown.append(view.history)
        if len(shown) == 1:
            raise RuntimeError("its worker is lost")
        return answers()

    both = plans(call("account.mark", id="ann"), call("account.note", id="ann"))
    plan_pipelines.SCRIPT[:] = [both, stumbles_once]
    run = await submit("plans-of-accounts", {})
    await attempt(run)
    for each in await hot().fetch("SELECT id FROM review"):
        await answer(each["id"], Verdict.APPROVED, who="ann")
    governed("autonomy: {level: observe}")  # lowered between the yes and the calls
    await attempt(run)
    await hot().execute("UPDATE run SET dispatch_at = now() WHERE id = $1", run)
    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], row["attempt"]) == ("success", 3), row["detail"]
    assert shown[0] == shown[1]
    assert CLOSED == []


CATALOGUE |= {("plans-of-accounts", 1): plans_of_accounts}
