"""Writes in doubt: what is sent again, what is looked up, what only a person can tell."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from models.database import hot
from models.ledger import EntryState
from models.review import DoubtVerdict, ReviewKind, Verdict
from models.run import StopReason
from models.verdict import BadAnswer, answer
from tests.conftest import document, expire_lease, reload, sweep
from tests.integration.test_checkpoint import entry, held
from tests.pipelines import WRITTEN, Value
from tools.tool import Ambiguous, Call, Effect, Rejected, tool, unknowable
from worker import testimony, trip, use
from worker.checkpoint import settle
from worker.intent import intend
from worker.outcome import Overtaken, Question
from worker.parking import Parking, park


async def review_of(run):
    """The one open question about a run."""
    return await hot().fetchval("SELECT id FROM review WHERE run_id = $1 AND verdict IS NULL", run)


async def in_doubt(submit, attempt, world):
    """A write-once call whose answer was lost, up to the question to a person."""
    run = await submit("once", {"n": 5})
    world.loses_answer("probe.once", Ambiguous("connection reset"))
    await attempt(run)
    early = await reload(run)
    assert (early["status"], early["waiting_for"]) == ("queued", "doubt"), (
        "nobody is asked too soon"
    )
    await as_if_later()
    await attempt(run)
    return run


async def as_if_later():
    """As if the last write's request could no longer be under way."""
    await hot().execute(
        "UPDATE ledger_entry SET send_before = now() - interval '9 s', quiet_at = now();"
        "UPDATE run SET dispatch_at = now() WHERE status = 'queued'"
    )


async def test_a_write_that_cannot_be_looked_up_is_never_repeated_but_asked_about(
    submit, attempt, world
):
    run = await in_doubt(submit, attempt, world)

    row = await reload(run)
    assert (row["status"], row["waiting_for"]) == ("waiting", "review")
    assert world.count("probe.once") == 1
    assert await hot().fetchval("SELECT state FROM ledger_entry") == "in_doubt"


@pytest.mark.parametrize(("verdict", "value", "calls", "reason"), [
    (Verdict.EDITED, {"n": 5}, 1, StopReason.SUCCESS),
    (Verdict.APPROVED, None, 2, StopReason.SUCCESS),
    (Verdict.REJECTED, None, 1, StopReason.IN_DOUBT),
    (DoubtVerdict.HAPPENED, {"n": 5}, 1, StopReason.SUCCESS),
    (DoubtVerdict.DID_NOT_HAPPEN, None, 2, StopReason.SUCCESS),
    (DoubtVerdict.ABANDONED, None, 1, StopReason.IN_DOUBT),
])  # fmt: skip
async def test_a_person_says_that_it_happened_that_it_did_not_or_that_it_is_given_up(
    submit, attempt, world, verdict, value, calls, reason
):
    run = await in_doubt(submit, attempt, world)

    await answer(await review_of(run), verdict, who="ann", value=value)
    await attempt(run)

    assert (await reload(run))["stop_reason"] == reason
    assert world.count("probe.once") == calls


@pytest.mark.parametrize(("reached", "calls"), [(True, 1), (False, 2)])
async def test_a_write_in_doubt_is_looked_up_once_it_can_no_longer_travel(
    submit, attempt, world, reached, calls
):
    WRITTEN.clear()
    run = await submit("once-looked-up", {"n": 5})
    (world.loses_answer if reached else world.breaks)("probe.lookup", Ambiguous("reset"))
    await attempt(run)
    early = await reload(run)
    await as_if_later()

    await attempt(run)

    assert (early["status"], early["waiting_for"]) == ("queued", "doubt")
    assert (await reload(run))["stop_reason"] == StopReason.SUCCESS
    assert world.count("probe.lookup") == calls
    assert list(WRITTEN) == [5]


async def test_a_verdict_on_a_doubt_fits_no_other_question(submit, attempt):
    run = await submit("sure-or-ask", {"n": 50})
    await attempt(run)

    with pytest.raises(BadAnswer, match="in doubt"):
        await answer(await review_of(run), DoubtVerdict.DID_NOT_HAPPEN, who="ann")

    assert await review_of(run) is not None


async def test_a_refusal_of_the_second_try_says_nothing_about_the_first(submit, attempt, world):
    """The key may have been let in first, and refused once our login was revoked."""
    run = await submit("sure-or-ask", {"n": 5})
    world.breaks("probe.write", Rejected("no longer"))
    world.broken["probe.write"].append(Ambiguous("connection reset"))  # popped first
    await attempt(run)
    early = await reload(run)
    world.breaks("probe.write", Rejected("no longer"))
    await as_if_later()
    await attempt(run)

    entry = await hot().fetchrow("SELECT state, error FROM ledger_entry WHERE step = 'write'")
    assert (early["status"], early["waiting_for"]) == ("queued", "doubt")
    assert (entry["state"], entry["error"]) == ("in_doubt", None)
    assert await review_of(run) is not None
    assert len(world.keys("probe.write")) == 1


async def test_a_key_that_may_be_forgotten_on_the_way_is_not_sent_again(submit, attempt, world):
    """Its target keeps it for 6 s, and a second request may arrive 8 s after its intent."""
    run = await submit("short-memory", {"n": 5})
    world.loses_answer("probe.forgetful", Ambiguous("reset"))
    await attempt(run)
    await as_if_later()
    await attempt(run)

    assert world.count("probe.forgetful") == 1
    assert await review_of(run) is not None


async def test_a_run_out_of_time_leaves_its_doubt_behind(submit, attempt, world, monkeypatch):
    run = await submit("slow-write", {"seconds": 0.5})
    world.loses_answer("probe.slow", Ambiguous("reset"))
    await attempt(run)

    row = await reload(run)
    assert row["stop_reason"] == StopReason.TIME_BUDGET
    assert await hot().fetchval("SELECT state FROM ledger_entry") == "in_doubt"


async def test_a_look_up_that_finds_nothing_ends_the_doubt(submit, attempt, world):
    """From then on a refusal is a refusal, and its money is given back."""
    WRITTEN.clear()
    run = await submit("once-looked-up", {"n": 5})
    world.breaks("probe.lookup", Ambiguous("reset"))
    await attempt(run)
    world.breaks("probe.lookup", Rejected("closed on Sundays"))
    await as_if_later()
    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], row["detail"]) == (StopReason.TOOL_FAILED, "closed on Sundays")
    assert WRITTEN == {}


@pytest.mark.parametrize(("effect", "more", "told"), [
    (Effect.WRITE, {}, "key_kept_for_s"),
    (Effect.WRITE_ONCE, {}, "lookup="),
    (Effect.WRITE_ONCE, {"lookup": unknowable, "timeout_s": 0}, "timeout_s"),
])  # fmt: skip
def test_a_write_says_at_import_what_safety_needs(effect, more, told):
    with pytest.raises(TypeError, match=told):

        @tool("probe.careless", effect=effect, **{"timeout_s": 1} | more)
        async def careless(args: Value, call: Call) -> Value:
            return args


@pytest.fixture
def slow_target(world, monkeypatch):
    """The next write reaches its target and answers when it is told to."""
    answered = asyncio.Event()

    async def invoke(tool, args, call):
        result = await world(tool, args, call)
        await answered.wait()
        monkeypatch.setattr(use, "invoke", world)
        return result

    monkeypatch.setattr(use, "invoke", invoke)
    return answered


async def zombie(submit, attempt, pipeline):
    """A run whose worker fell silent with a write under way, and that worker's task."""
    run = await submit(pipeline, {"n": 5})
    task = asyncio.create_task(attempt(run))
    while not await hot().fetchval("SELECT count(*) FROM ledger_entry WHERE state = 'reserved'"):
        await asyncio.sleep(0.01)
    await expire_lease(run)
    assert await sweep() == 1
    return run, task


async def test_a_late_answer_is_believed_while_the_write_is_in_doubt(
    submit, attempt, world, slow_target
):
    run, task = await zombie(submit, attempt, "once-looked-up")
    await hot().execute("UPDATE run SET attempt = attempt + 1")

    slow_target.set()
    await task
    told = await hot().fetchrow("SELECT state, result, attempt FROM ledger_entry")
    await attempt(run)

    row = await reload(run)
    assert (told["state"], document(told["result"]), told["attempt"]) == ("settled", {"n": 5}, 1)
    assert (row["stop_reason"], row["attempt"], world.count("probe.lookup")) == ("success", 3, 1)


async def test_a_late_answer_spares_a_person_the_question(submit, attempt, world, slow_target):
    run, task = await zombie(submit, attempt, "once")
    await as_if_later()
    await attempt(run)  # another worker: nobody can look it up, so a person is asked
    review = await review_of(run)

    slow_target.set()
    await task
    verdict = await hot().fetchrow("SELECT verdict, who, note FROM review WHERE id = $1", review)
    await attempt(run)

    assert tuple(verdict) == ("edited", "its worker", "the answer came late")
    assert (await reload(run))["stop_reason"] == "success"
    assert world.count("probe.once") == 1


async def test_a_late_answer_to_a_try_that_was_repeated_changes_nothing(
    submit, attempt, world, slow_target, monkeypatch
):
    run, task = await zombie(submit, attempt, "sure-or-ask")
    second = asyncio.create_task(attempt(run))  # the same key again, and no answer to it either
    while await hot().fetchval("SELECT tries FROM ledger_entry WHERE step = 'write'") < 2:
        await asyncio.sleep(0.01)
    newer = await hot().fetchval("SELECT token FROM ledger_entry WHERE step = 'write'")
    await hot().execute("UPDATE ledger_entry SET token = gen_random_uuid() WHERE step = 'write'")

    slow_target.set()
    await asyncio.gather(task, second)

    entry = await hot().fetchrow("SELECT state, token FROM ledger_entry WHERE step = 'write'")
    assert (entry["state"], entry["token"] != newer) == ("reserved", True)


async def test_a_doubt_that_a_late_answer_has_ended_is_no_question(submit):
    """It came between a new attempt's look at the record and its parking."""
    run = await held(submit)
    first = entry(run, state=EntryState.RESERVED, effect="write_once", tool="t")
    await intend([first])
    await hot().execute("UPDATE run SET attempt = 2 WHERE id = $1", run)
    await testimony.testify([entry(run, token=first.token, state=EntryState.RELEASED)])
    question = Question(
        step="s",
        number=1,
        kind=ReviewKind.IN_DOUBT,
        text="Did it happen?",
        proposal=b"{}",
        answer_schema={},
        args_hash=b"h",
        decide_within=timedelta(days=7),
        fresh=False,
    )

    await park([Parking(run, 2, "tests", 0.0, [question], uuid4(), "")])

    assert (await reload(run))["status"] == "queued"
    assert await review_of(run) is None


async def test_what_a_late_answer_says_goes_before_what_a_look_up_finds(submit):
    run = await held(submit)
    first = entry(run, state=EntryState.RESERVED, effect="write_once", tool="t")
    await intend([first])
    await hot().execute("UPDATE run SET attempt = 2 WHERE id = $1", run)
    await testimony.testify([entry(run, token=first.token, result=b'{"n": 1}')])

    (said,) = await settle([entry(run, attempt=2, token=first.token, result=b'{"n": 2}')])

    assert isinstance(said, Overtaken), "the run goes on with what is recorded"
    assert document(await hot().fetchval("SELECT result FROM ledger_entry")) == {"n": 1}


async def test_a_write_under_way_is_awaited_however_often_its_run_is_called_off(
    submit, attempt, slow_target
):
    """By an operator, by a lost lease, by a shutdown: they may all come while it is on its way."""
    await submit("once-looked-up", {"n": 5})
    task = asyncio.create_task(attempt(await hot().fetchval("SELECT id FROM run")))
    while not await hot().fetchval("SELECT count(*) FROM ledger_entry WHERE state = 'reserved'"):
        await asyncio.sleep(0.01)

    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.02)
    under_way = not task.done()
    slow_target.set()
    await asyncio.wait([task])

    assert under_way
    assert await hot().fetchval("SELECT state FROM ledger_entry") == "settled"


async def test_a_run_that_learns_of_the_answer_while_it_tries_goes_on_with_it(
    submit, attempt, world, slow_target, monkeypatch
):
    """The zombie's answer comes between the new attempt's look at the record and its intent."""
    run, task = await zombie(submit, attempt, "sure-or-ask")
    second = await attempt_after_testimony(run, attempt, monkeypatch, slow_target, task)

    assert (await reload(run))["stop_reason"] == "success"
    assert second.attempt == 2
    assert world.count("probe.write") == 1


async def attempt_after_testimony(run, attempt, monkeypatch, slow_target, task):
    admit = trip.Trip._admit

    async def late(self):
        slow_target.set()
        await task
        await admit(self)

    monkeypatch.setattr(trip.Trip, "_admit", late)
    return await attempt(run)


async def test_a_run_that_ends_in_doubt_leaves_a_listed_doubt(submit, attempt, world):
    run = await submit("once", {"n": 5})
    world.loses_answer("probe.once", Ambiguous("reset"))
    await attempt(run)
    await hot().execute(
        "UPDATE run SET status = 'running', worker = gen_random_uuid(), attempt = attempt + 1,"
        " crashes = 2, lease_expires_at = now() - interval '1 s', waiting_for = NULL"
    )

    await sweep()
    early = await review_of(run)
    await as_if_later()
    await sweep()
    review = await review_of(run)
    await answer(review, Verdict.EDITED, who="ann", value={"n": 5})
    await sweep()

    assert early is None, "its request may be under way still"
    assert (await reload(run))["stop_reason"] == StopReason.CRASHES_EXHAUSTED
    entry = await hot().fetchrow("SELECT state, result FROM ledger_entry")
    assert (entry["state"], document(entry["result"])) == ("settled", {"n": 5})
    assert await review_of(run) is None
