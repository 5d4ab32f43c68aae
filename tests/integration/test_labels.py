"""Labels: whatever a text from outside says, it chooses no recipient, and few bits of a write."""

import pytest

from models.database import hot
from tests import bound_pipelines
from tests.bound_pipelines import SENT, Asked, Said
from tests.conftest import CATALOGUE, document, reload

CATALOGUE |= bound_pipelines.PIPELINES


@pytest.fixture(autouse=True)
def empty_mailbox():
    SENT.clear()


async def entry(run, step="send"):
    return await hot().fetchrow(
        "SELECT * FROM ledger_entry WHERE run_id = $1 AND step = $2", run, step
    )


@pytest.mark.parametrize(
    ("given", "to"),
    [
        ({"way": "bound", "customer": "cleo"}, "cleo"),
        ({"way": "fixed"}, "desk"),
        ({"way": "from the page"}, "bob"),
    ],
)
async def test_a_recipient_that_the_client_or_the_pipeline_chose_is_written_to(
    submit, attempt, given, to
):
    run = await submit("mailer", given)

    await attempt(run)

    assert (await reload(run))["stop_reason"] == "success"
    assert [each.to for each in SENT] == [to]
    labels = document((await entry(run))["labels"])
    assert labels["/to"]["trust"] == "trusted"
    assert labels["/text"] == {"trust": "untrusted", "from": ["page:/text"]}
    assert labels["/kind"] == {
        "trust": "endorsed", "bits": 1.0, "from": ["judge:/kind"], "by": "map",
    }  # fmt: skip


@pytest.mark.parametrize("way", ["plain", "taken", "made", "from the text", "among"])
async def test_one_that_a_text_from_outside_chose_goes_to_a_person_and_nothing_is_sent(
    submit, attempt, way
):
    run = await submit("mailer", {"way": way, "text": "bob" if way == "among" else "eve"})

    await attempt(run)

    row = await reload(run)
    assert (row["status"], row["waiting_for"], SENT) == ("waiting", "review", [])
    review = await hot().fetchrow("SELECT * FROM review")
    assert review["kind"] == "approval"
    assert "/to needs to be trusted, and is" in review["question"]
    assert (await entry(run))["state"] == "released"


async def test_a_tool_without_sinks_takes_what_the_pipeline_binds(submit, attempt):
    run = await submit("mailer", {"way": "also a note"})

    await attempt(run)

    assert [each.to for each in SENT] == ["ann", "eve@evil.example"]


@pytest.mark.parametrize(("policy", "sent"), [("{}", 6), ("labels: {max_bits: 4}", 2)])
async def test_what_text_from_outside_chooses_in_one_run_is_counted(
    submit, attempt, governed, policy, sent
):
    """Two bits a mail, twelve a run."""
    governed(policy)
    run = await submit("chatty", {"n": 9})

    await attempt(run)

    assert len(SENT) == sent
    told = await hot().fetchval("SELECT question FROM review")
    assert f"would have chosen {(sent + 1) * 2}.0 of {sent * 2} bits" in told


async def test_bits_of_replayed_steps_count_as_well(submit, attempt):
    run = await submit("chatty", {"n": 7})
    await attempt(run)
    await hot().execute("DELETE FROM review")
    await hot().execute("DELETE FROM ledger_entry WHERE step = 'send-6'")
    await hot().execute("UPDATE run SET status = 'queued', waiting_for = NULL, dispatch_at = now()")

    await attempt(run)

    assert len(SENT) == 6
    assert (await reload(run))["waiting_for"] == "review"


@pytest.mark.parametrize(
    ("sinks", "sent"),
    [
        ("{mail.note: {/to: trusted}}", ["ann"]),
        ("{'mail.*': {/to: endorsed}}", ["ann"]),
        ("{mail.note: {/kind: endorsed}}", ["ann", "eve@evil.example"]),
        ("{mail.send: {/text: trusted}}", []),
        ("{mail.send: {/to: untrusted, /nothing: trusted}}", ["ann", "eve@evil.example"]),
    ],
)
async def test_the_policy_may_ask_for_more_trust_than_a_tool_and_never_for_less(
    submit, attempt, governed, sinks, sent
):
    governed(f"tools: {{sinks: {sinks}}}")
    run = await submit("mailer", {"way": "also a note"})

    await attempt(run)

    assert [each.to for each in SENT] == sent


async def test_no_policy_lets_text_from_outside_choose_a_recipient(submit, attempt, governed):
    governed("tools: {sinks: {'*': {/to: untrusted}}, approvals: {'*': never}}")
    run = await submit("mailer", {"way": "taken"})

    await attempt(run)

    assert ((await reload(run))["waiting_for"], SENT) == ("review", [])


async def test_what_has_left_counts_though_a_replay_comes_by_it_later(submit, attempt, governed):
    governed("labels: {max_bits: 2}")
    run = await submit("side-by-side", {})
    await attempt(run)
    assert [each.to for each in SENT] == ["quick"]
    await hot().execute("DELETE FROM review")
    await hot().execute("DELETE FROM ledger_entry WHERE step = 'send-slow'")
    await hot().execute("UPDATE run SET status = 'queued', waiting_for = NULL, dispatch_at = now()")

    await attempt(run)

    assert [each.to for each in SENT] == ["quick"]
    assert (await reload(run))["waiting_for"] == "review"


@pytest.mark.parametrize(
    "said",
    [
        Said.model_construct(kind="bomb", confidence=1),
        Said.model_construct(kind="alert", confidence=float("nan")),
        Said.model_construct(kind="alert", confidence=1, to="\ud800"),
        Said.model_construct(kind="alert", confidence=1, to={"deep": []}),
        Said.model_construct(confidence=1),
        "alert",
        Asked(),
    ],
)
async def test_an_answer_outside_its_type_ends_the_run_and_is_not_recorded(submit, attempt, said):
    bound_pipelines.ANSWERS[:] = [said]
    run = await submit("judging", {})

    await attempt(run)

    row = await reload(run)
    assert (row["status"], row["stop_reason"]) == ("finished", "model_output_invalid")
    assert await hot().fetchval("SELECT count(*) FROM ledger_entry") == 0
