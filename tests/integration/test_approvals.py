"""Approvals: one call, exactly the approved arguments, once."""

import asyncio

import pytest

from models.database import hot
from models.review import Verdict
from models.verdict import BadAnswer, answer, expire
from tests import bound_pipelines
from tests.bound_pipelines import SENT
from tests.conftest import CATALOGUE, document, expire_lease, reload, sweep
from tools.tool import Unavailable

CATALOGUE |= bound_pipelines.PIPELINES
ALWAYS = "tools: {approvals: {'mail.*': always}}"


@pytest.fixture(autouse=True)
def empty_mailbox():
    SENT.clear()


@pytest.fixture
async def parked(submit, attempt, governed):
    """A run that waits for its approval, and the review's id."""
    governed(ALWAYS)
    run = await submit("mailer", {"customer": "ann"})
    await attempt(run)
    assert (await reload(run))["waiting_for"] == "review"
    return run, await hot().fetchval("SELECT id FROM review")


@pytest.mark.parametrize(
    ("rule", "amount", "asked"),
    [
        ("always", "0", True),
        ("never", "0", False),
        ("above(/amount, 100)", "100", False),
        ("above(/amount, 100)", "100.01", True),
        ("above(/nothing, 100)", "1", True),
        ("first(1)", "0", True),
    ],
)
async def test_the_policy_says_which_calls_a_person_must_allow(
    submit, attempt, governed, rule, amount, asked
):
    governed(f"tools: {{approvals: {{'mail.send': '{rule}'}}}}")
    run = await submit("mailer", {"amount": amount})

    await attempt(run)

    assert len(SENT) == (not asked)
    question = await hot().fetchval("SELECT question FROM review")
    assert (question is not None and f"the policy says {rule}" in question) == asked


async def test_an_approved_call_is_made_once_with_exactly_what_was_shown(parked, attempt):
    run, review = parked
    shown = document(await hot().fetchval("SELECT proposal FROM review"))

    await answer(review, Verdict.APPROVED, who="jo")
    await attempt(run)

    assert (await reload(run))["stop_reason"] == "success"
    assert [each.model_dump(mode="json") for each in SENT] == [shown]
    row = await hot().fetchrow("SELECT * FROM review")
    assert row["used_at"] is not None
    counted = await reload(run)
    assert (counted["steps"], counted["calls"]) == (3, 2)


@pytest.mark.parametrize(
    ("spoilt", "sent"),
    [
        ("UPDATE review SET args_hash = sha256('another')", 0),
        ("UPDATE review SET use_by = now() - interval '1 s'", 0),
        ("UPDATE review SET kind = 'uncertain'", 0),
        ("UPDATE review SET step = 'another'", 0),
        ("UPDATE review SET run_id = gen_random_uuid()", 0),
        ("SELECT 1", 1),
    ],
)
async def test_an_approval_of_anything_else_authorises_nothing(parked, attempt, spoilt, sent):
    run, review = parked
    await answer(review, Verdict.APPROVED, who="jo")
    await hot().execute(spoilt)

    await attempt(run)

    assert len(SENT) == sent
    if not sent:
        assert (await reload(run))["waiting_for"] == "review", "it is asked again"


async def test_one_that_was_rejected_or_not_answered_in_time_is_not_made(
    parked, attempt, submit, governed
):
    run, review = parked
    await answer(review, Verdict.REJECTED, who="jo", note="not to her")
    await attempt(run)
    late = await submit("mailer", {"customer": "ann"})
    await attempt(late)
    await hot().execute("UPDATE review SET decide_by = now() WHERE run_id = $1", late)
    await expire()

    await attempt(late)

    said, unsaid = await reload(run), await reload(late)
    assert (said["stop_reason"], said["detail"]) == ("review_rejected", "not to her")
    assert (unsaid["stop_reason"], SENT) == ("review_expired", [])


EDITED = {"to": "bob", "text": "Hello", "kind": "reminder", "amount": "7"}


async def test_an_edited_call_is_made_once_with_exactly_what_the_person_wrote(parked, attempt):
    run, review = parked
    before = await hot().fetchrow("SELECT * FROM ledger_entry WHERE step = 'send'")

    await answer(review, Verdict.EDITED, who="jo", value=EDITED)
    await attempt(run)

    row = await hot().fetchrow("SELECT * FROM ledger_entry WHERE step = 'send'")
    labels = document(row["labels"])
    assert (await reload(run))["stop_reason"] == "success"
    assert [each.model_dump(mode="json") for each in SENT] == [EDITED]
    assert document(row["args"]) == EDITED
    assert row["args_hash"] == before["args_hash"], "a replay asks what the pipeline has passed"
    assert labels["/to"] == {"trust": "trusted", "by": "a person"}
    assert labels["/kind"] == document(before["labels"])["/kind"], "it was left alone"
    assert await hot().fetchval("SELECT used_at FROM review") is not None


async def test_what_fits_no_contract_is_no_edit(parked):
    _, review = parked
    for value in ({"to": 5}, {"to": "ann", "eve": True}, {"text": "to nobody"}, None, "eve"):
        with pytest.raises(BadAnswer):
            await answer(review, Verdict.EDITED, who="jo", value=value)
    assert await hot().fetchval("SELECT verdict FROM review") is None


async def test_an_edit_that_the_tool_refuses_fails_the_step_and_sends_nothing(parked, attempt):
    run, review = parked
    await hot().execute("UPDATE review SET answer_schema = '{}'")
    await answer(review, Verdict.EDITED, who="jo", value={"to": "bob", "kind": "threat"})

    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], SENT) == ("review_rejected", [])
    assert "/kind" in row["detail"]
    entry = await hot().fetchrow("SELECT state, spent_usd FROM ledger_entry WHERE step = 'send'")
    assert (entry["state"], entry["spent_usd"]) == ("rejected", 0)


@pytest.mark.parametrize(
    ("spoilt", "sent"),
    [
        ("""UPDATE ledger_entry SET args = '{"to": "eve"}' WHERE step = 'send'""", 0),
        ("UPDATE review SET args_hash = sha256('another')", 0),
        ("UPDATE review SET use_by = now() - interval '1 s'", 0),
        ("SELECT 1", 1),
    ],
)
async def test_of_an_edited_call_too_every_byte_counts(parked, attempt, spoilt, sent):
    run, review = parked
    await answer(review, Verdict.EDITED, who="jo", value=EDITED)
    await hot().execute(spoilt)

    await attempt(run)

    assert len(SENT) == sent
    if not sent:
        assert (await reload(run))["waiting_for"] == "review", "it is asked again"


async def test_an_edit_stands_though_the_policy_no_longer_asks(parked, attempt, governed):
    run, review = parked
    await answer(review, Verdict.EDITED, who="jo", value=EDITED)
    governed("tools: {approvals: {'mail.*': never}}")

    await attempt(run)

    assert [each.to for each in SENT] == ["bob"]


async def test_an_edit_needs_its_approval_though_the_policy_no_longer_asks(
    parked, attempt, governed
):
    run, review = parked
    await answer(review, Verdict.EDITED, who="jo", value=EDITED)
    await hot().execute("""UPDATE ledger_entry SET args = '{"to": "eve"}' WHERE step = 'send'""")
    governed("tools: {approvals: {'mail.*': never}}")

    await attempt(run)

    assert (SENT, (await reload(run))["waiting_for"]) == ([], "review")


async def test_an_edit_that_grew_too_old_is_asked_about_and_approved_as_it_was_edited(
    parked, attempt
):
    run, review = parked
    await answer(review, Verdict.EDITED, who="jo", value=EDITED)
    await hot().execute("UPDATE review SET use_by = now() - interval '1 s'")
    await attempt(run)
    again = await hot().fetchrow("SELECT id, proposal FROM review")
    assert document(again["proposal"]) == EDITED
    await answer(again["id"], Verdict.APPROVED, who="jo")

    await attempt(run)

    assert [each.model_dump(mode="json") for each in SENT] == [EDITED]


async def test_an_edited_call_survives_a_crash_in_its_middle(parked, attempt, world):
    run, review = parked
    await answer(review, Verdict.EDITED, who="jo", value=EDITED)
    world.breaks("mail.send", MemoryError("its worker dies here"))
    await attempt(run)
    await hot().execute("UPDATE run SET dispatch_at = now()")

    await attempt(run)

    assert [each.to for each in SENT] == ["bob"]


async def test_ten_workers_racing_on_an_approved_run_make_the_call_once(parked, attempt):
    run, review = parked
    await answer(review, Verdict.APPROVED, who="jo")

    await asyncio.gather(*(attempt(run) for _ in range(10)))

    assert len(SENT) == 1


async def test_an_approval_survives_a_crash_before_its_call(parked, attempt, world):
    run, review = parked
    await answer(review, Verdict.APPROVED, who="jo")
    world.breaks("mail.send", MemoryError("its worker dies here"))
    await attempt(run)
    await hot().execute("UPDATE run SET dispatch_at = now()")

    await attempt(run)

    assert (await reload(run))["stop_reason"] == "success"
    assert len(SENT) == 1


async def test_what_the_first_calls_are_asked_the_later_ones_are_not(submit, attempt, governed):
    governed("tools: {approvals: {'mail.send': first(1)}}")
    first = await submit("mailer", {})
    await attempt(first)
    await answer(await hot().fetchval("SELECT id FROM review"), Verdict.APPROVED, who="jo")
    await attempt(first)

    second = await submit("mailer", {})
    await attempt(second)
    other = await submit("mailer", {}, tenant="umbrella")
    await attempt(other)

    assert (await reload(second))["stop_reason"] == "success"
    assert (await reload(other))["waiting_for"] == "review", "each tenant's people decide"


async def test_a_dead_workers_parked_run_keeps_its_question(parked, attempt):
    run, review = parked
    await expire_lease(run)
    await sweep()
    assert await hot().fetchval("SELECT count(*) FROM review WHERE verdict IS NULL") == 1
    await answer(review, Verdict.APPROVED, who="jo")
    await attempt(run)
    assert len(SENT) == 1


async def test_how_long_a_person_took_is_not_held_against_the_call(parked, attempt, world):
    """It may be tried for a quarter of an hour from its first try on."""
    run, review = parked
    await hot().execute("UPDATE ledger_entry SET created_at = now() - interval '2 days'")
    await answer(review, Verdict.APPROVED, who="jo")
    world.breaks("mail.send", Unavailable("busy"), times=9)

    await attempt(run)

    row = await reload(run)
    assert (row["status"], row["waiting_for"]) == ("queued", "tool")
    world.broken.clear()
    await hot().execute("UPDATE run SET dispatch_at = now()")
    await attempt(run)
    assert len(SENT) == 1


async def test_what_a_person_allowed_is_not_tried_for_ever(parked, attempt, world, governed):
    governed(f"{ALWAYS[:-1]}, retries: {{max_wait_s: 0}}}}")
    run, review = parked
    await answer(review, Verdict.APPROVED, who="jo")
    world.breaks("mail.send", Unavailable("busy"), times=9)

    await attempt(run)

    assert (await reload(run))["stop_reason"] == "tool_failed"


@pytest.mark.parametrize("way", ["secret", "left out", "endless", "its own words"])
async def test_what_a_person_could_not_read_is_not_asked_about_and_not_done(
    submit, attempt, governed, way
):
    """What is approved is the JSON of the arguments: it has to tell all of them."""
    governed("tools: {approvals: {'vault.*': always}}")
    run = await submit("vault", {"way": way})

    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], SENT) == ("tool_denied", [])
    assert "what its JSON does not tell" in row["detail"]
    assert await hot().fetchval("SELECT count(*) FROM review") == 0
    assert "eve" not in row["detail"]
