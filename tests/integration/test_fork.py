"""Forks: a new run with a part of another one's record, and the rest made anew."""

import asyncio
from uuid import uuid4

import aiohttp
import pytest

from models.audit import latest
from models.cancel import cancel
from models.database import hot
from models.fork import Fork, NoSuchRun, WritesAgain, fork
from models.fork_point import Unforkable
from models.request import InvalidInput, KeyReused, Malformed
from models.review import Verdict
from models.run import StopReason
from models.spend import spending
from models.tenant import create_key
from models.tombstone import FIRST, bury
from models.verdict import answer
from tests import bound_pipelines, version_pipelines
from tests.bound_pipelines import SENT
from tests.conftest import CATALOGUE, document, reload
from tests.integration import test_versions
from tests.integration.test_api import Api
from tests.integration.test_doubt import in_doubt
from tests.pipelines import SHELF
from tests.service import serving
from tools.tool import Rejected

CATALOGUE |= bound_pipelines.PIPELINES | version_pipelines.PIPELINES | test_versions.PIPELINES
STEPS = {"steps": ["read 1", "write 2", "read 3", "write 4"]}


@pytest.fixture
async def source(submit, attempt, world):
    """A run of four steps that is over, and no call counted yet."""
    run = await submit("plan", STEPS)
    await attempt(run)
    assert (await reload(run))["stop_reason"] == StopReason.SUCCESS
    world.calls.clear()
    return run


def asked(source, step, key="again", **more):
    return Fork(source, step, key, who="ada", **more)


async def ledger(run):
    rows = await hot().fetch(
        "SELECT step, state, copied_from, spent_usd, tries FROM ledger_entry WHERE run_id = $1"
        " ORDER BY number",
        run,
    )
    return [tuple(row) for row in rows]


async def test_a_fork_replays_what_is_before_its_step_and_makes_the_rest_under_its_own_keys(
    source, attempt, world
):
    receipt = await fork(asked(source, "2-0", writes_again=True))
    assert await ledger(receipt.run_id) == [
        ("0-0", "settled", source, 0, 1),
        ("1-0", "settled", source, 0, 1),
    ]

    await attempt(receipt.run_id)

    row = await reload(receipt.run_id)
    assert (row["stop_reason"], document(row["result"])) == (StopReason.SUCCESS, {"n": 4})
    assert (row["forked_from"], row["key"], row["steps"]) == (source, "again", 2)
    assert world.calls == [
        ("probe.read", f"{receipt.run_id}:2-0"),
        ("probe.write", f"{receipt.run_id}:3-0"),
    ]
    assert (await reload(source))["steps"] == 4, "the source stays what it was"


async def test_what_the_source_has_written_is_written_again_only_if_somebody_says_so(
    source, attempt
):
    with pytest.raises(WritesAgain, match="'1-0', '3-0'"):
        await fork(asked(source, "1-0"))
    with pytest.raises(WritesAgain, match="written already: '3-0'"):
        await fork(asked(source, "2-0"))
    assert await hot().fetchval("SELECT count(*) FROM run") == 1
    assert await hot().fetchval("SELECT count(*) FROM request_key WHERE key = 'again'") == 0

    assert not (await fork(asked(source, "1-0", writes_again=True))).replayed
    line = (await latest(1))[0]
    assert (line.who, line.act) == ("ada", "fork")
    assert '"writes_again":["1-0","3-0"]' in line.about


async def test_the_same_key_gives_the_same_fork_and_another_step_or_input_is_refused(
    source, submit
):
    ask = asked(source, "2-0", writes_again=True)

    receipts = await asyncio.gather(*(fork(ask) for _ in range(5)))
    await hot().execute("DELETE FROM run WHERE id = $1", source)  # whatever becomes of it
    await hot().execute(
        "INSERT INTO tombstone SELECT $1, 'acme', 'k', 'plan', 1, 'success', now(), now()", source
    )
    receipts.append(await fork(ask))

    assert len({each.run_id for each in receipts}) == 1
    assert [each.replayed for each in receipts].count(False) == 1
    assert await hot().fetchval("SELECT count(*) FROM run WHERE forked_from = $1", source) == 1
    for other in ({"step": "1-0"}, {"input": {"steps": []}}, {"version": 2}):
        with pytest.raises(KeyReused):
            await fork(asked(**{"source": source, "step": "2-0"} | other))
    with pytest.raises(KeyReused, match="asked for a fork"):
        await submit("plan", STEPS, key="again")
    await submit("noop", {}, key="of-a-request")
    with pytest.raises(KeyReused):
        await fork(asked(source, "2-0", key="of-a-request"))


async def test_a_forks_copies_cost_nothing_and_are_in_no_window_twice(submit, attempt):
    run = await submit("pay", {"n": 3})
    await attempt(run)

    receipt = await fork(asked(run, "pay-2", writes_again=True))
    before = [row["spent"] for row in await spending(1)]
    await attempt(receipt.run_id)

    row = await reload(receipt.run_id)
    assert [str(each) for each in before] == ["0.30000000"] * 2, "a copy is paid for already"
    assert [str(row["spent"]) for row in await spending(1)] == ["0.40000000"] * 2
    assert (str(row["spent_usd"]), row["stop_reason"]) == ("0.10000000", StopReason.SUCCESS)


async def test_a_roll_back_in_a_fork_leaves_what_its_source_has_written(submit, attempt):
    SHELF.clear()
    run = await submit("plan", {"steps": ["read 0", "put 1", "read 2", "put 3"]})
    await attempt(run)
    assert {1, 3} == SHELF
    ahead = {"steps": ["read 0", "put 1", "read 2", "put 5", "back 0"]}

    receipt = await fork(asked(run, "2-0", input=ahead, writes_again=True))
    await attempt(receipt.run_id)

    assert (await reload(receipt.run_id))["stop_reason"] == StopReason.SUCCESS
    assert {1, 3} == SHELF, "its own was taken back, and no other"
    states = {step: state for step, state, *_ in await ledger(receipt.run_id)}
    assert (states["1-0"], states["3-0"]) == ("settled", "undone")
    assert "undo/1-0" not in states


async def test_an_approval_of_the_source_is_none_of_the_fork(submit, attempt, governed):
    SENT.clear()
    governed("tools: {approvals: {'mail.*': always}}")
    run = await submit("mailer", {"customer": "ann"})
    await attempt(run)
    await answer(await hot().fetchval("SELECT id FROM review"), Verdict.APPROVED, who="jo")
    await attempt(run)
    assert len(SENT) == 1
    step = await hot().fetchval("SELECT step FROM ledger_entry WHERE tool = 'mail.send'")

    receipt = await fork(asked(run, step, writes_again=True))
    await attempt(receipt.run_id)

    row = await reload(receipt.run_id)
    assert (row["status"], row["waiting_for"]) == ("waiting", "review")
    assert len(SENT) == 1
    kinds = await hot().fetch("SELECT kind FROM review WHERE run_id = $1", receipt.run_id)
    assert [each["kind"] for each in kinds] == ["approval"]


async def test_what_a_person_answered_is_on_record_for_the_fork(submit, attempt, world):
    run = await submit("sure-or-ask", {"n": 50})
    await attempt(run)
    review = await hot().fetchval("SELECT id FROM review")
    await answer(review, Verdict.EDITED, who="ann", value={"n": 42, "confidence": 1})
    world.breaks("probe.write", Rejected("closed on Sundays"))
    await attempt(run)
    assert (await reload(run))["stop_reason"] == StopReason.TOOL_FAILED

    receipt = await fork(asked(run, "write"))  # it was refused: nothing is written twice
    await attempt(receipt.run_id)

    row = await reload(receipt.run_id)
    assert (row["stop_reason"], document(row["result"])) == (StopReason.SUCCESS, {"n": 42})
    assert await hot().fetchval("SELECT count(*) FROM review") == 1


async def test_only_what_is_over_and_known_is_forked(submit, attempt, world, source):
    queued = await submit("plan", STEPS)
    for run, step, told in (
        (queued, "0-0", "this run is queued: wait until it is over, or cancel it"),
        (source, "9-0", "is no step of this run's pipeline on record; there are: '0-0', '1-0'"),
        (source, "", "is no step of this run's pipeline"),
    ):
        with pytest.raises(Unforkable, match=told):
            await fork(asked(run, step))
    with pytest.raises(Unforkable, match="no worker has ever published plan v9"):
        await fork(asked(source, "2-0", version=9, writes_again=True))
    for odd in (0, 2**40):
        with pytest.raises(Unforkable, match="no worker has ever published"):
            await fork(asked(source, "2-0", version=odd, writes_again=True))
    with pytest.raises(Malformed):
        await fork(asked(source, "2-0", input={"steps": [2**80]}, writes_again=True))
    with pytest.raises(InvalidInput, match="/input/steps"):
        await fork(asked(source, "2-0", input={"steps": 7}, writes_again=True))
    with pytest.raises(NoSuchRun):
        await fork(asked(source, "2-0", tenant="umbrella", writes_again=True))
    with pytest.raises(NoSuchRun):
        await fork(asked(uuid4(), "2-0"))

    await hot().execute(
        "UPDATE run SET finished_at = now() - interval '9 d', created_at = now() - interval '9 d'"
        " WHERE id = $1",
        source,
    )
    assert (await bury(FIRST, payload_s=86400))[1] == 1
    with pytest.raises(Unforkable, match="was purged"):
        await fork(asked(source, "2-0"))


async def test_a_run_with_a_write_in_doubt_is_not_forked(submit, attempt, world):
    run = await in_doubt(submit, attempt, world)
    await cancel(run, who="ann", reason="")
    assert (await reload(run))["status"] == "finished"
    step = await hot().fetchval("SELECT step FROM ledger_entry WHERE state = 'in_doubt'")

    with pytest.raises(Unforkable, match="nobody knows yet whether"):
        await fork(asked(run, step, writes_again=True))


async def test_an_unfinished_step_before_it_is_where_to_fork_from(submit, attempt):
    run = await submit("many-asks", {"n": 2})
    await attempt(run)
    await cancel(run, who="ann", reason="")

    with pytest.raises(Unforkable, match="'ask/0' before it was never finished: fork from that"):
        await fork(asked(run, "ask/1"))
    receipt = await fork(asked(run, "ask/0"))
    await attempt(receipt.run_id)
    assert (await reload(receipt.run_id))["waiting_for"] == "review"


async def test_a_part_of_a_step_and_what_was_taken_back_are_no_places_to_fork_between(
    submit, attempt, world
):
    SHELF.clear()
    run = await submit("plan", {"steps": ["guess 1", "put 1", "put 2", "read 1", "back 1"]})
    await attempt(run)
    assert {1} == SHELF
    await hot().execute("UPDATE ledger_entry SET step = '0-0/ask-1' WHERE step = '1-0'")

    with pytest.raises(Unforkable, match="'0-0/ask-1' is a part of '0-0': fork from that"):
        await fork(asked(run, "0-0/ask-1"))
    with pytest.raises(Unforkable, match="there are: '0-0', '2-0'"):  # and none of its parts
        await fork(asked(run, "nowhere"))
    with pytest.raises(Unforkable, match="'2-0' before it was taken back later"):
        await fork(asked(run, "3-0"))
    with pytest.raises(Unforkable, match="is no step of this run's pipeline"):
        await fork(asked(run, "undo/2-0"))
    with pytest.raises(
        WritesAgain, match=r"written already: '0-0/ask-1'[.] The"
    ):  # the other is gone
        await fork(asked(run, "0-0"))


async def test_a_fork_of_another_version_goes_on_with_that_one(submit, attempt, world):
    run = await submit("relay", {"n": 1})
    await hot().execute("UPDATE run SET version = 1 WHERE id = $1", run)
    await attempt(run)
    assert document((await reload(run))["result"]) == {"n": 101}

    receipt = await fork(asked(run, "wait", version=2, writes_again=True))
    await attempt(receipt.run_id)

    row = await reload(receipt.run_id)
    assert (row["version"], document(row["result"])) == (2, {"n": 201})
    assert world.count("probe.read") == 1


async def test_over_http_and_in_the_terminal(source, opened, sluice):
    async with serving(opened) as url, aiohttp.ClientSession() as session:
        await over_http(source, url, session)

    words = ("fork", str(source), "--from", "2-0", "--key", "by-hand")
    code, _, said = await sluice(*words)
    assert code == 2
    assert "--writes-again" in said
    code, said, _ = await sluice(*words, "--writes-again")
    assert code == 0
    _, tree, _ = await sluice("show", "by-hand")
    assert said.split()[0] in tree
    assert f"a fork of {source}" in tree
    assert tree.count("copied") == 3
    _, told, _ = await sluice("fork", "--help")
    assert "NEW call under the new run's own keys" in " ".join(told.split())


async def over_http(source, url, session):
    acme, other = [Api(url, await create_key(name), session) for name in ("acme", "umbrella")]
    path, body = f"/v1/runs/{source}/fork", {"from": "2-0"}

    refused, told, _ = await acme("POST", path, body, key="k1")
    status, made, headers = await acme("POST", path, body | {"writes_again": True}, key="k1")
    again, same, _ = await acme("POST", path, body | {"writes_again": True}, key="k1")
    clash, _, _ = await acme("POST", path, body | {"version": 1}, key="k1")
    nothing, _, _ = await other("POST", path, body, key="k1")
    misspelt, _, _ = await acme("POST", path, {"form": "2-0"}, key="k2")
    keyless, _, _ = await acme("POST", path, body)
    typed, _, _ = await acme("POST", path, body | {"version": "1"}, key="k2")

    assert (refused, told["code"]) == (422, "writes_again")
    assert (status, made["replayed"], headers["Location"]) == (
        202, False, f"/v1/runs/{made['run_id']}",
    )  # fmt: skip
    assert (again, same["run_id"], same["replayed"]) == (202, made["run_id"], True)
    assert (clash, nothing, misspelt, keyless, typed) == (422, 404, 400, 400, 400)
    _, shown, _ = await acme("GET", f"/v1/runs/{made['run_id']}")
    assert shown["forked_from"] == str(source)
