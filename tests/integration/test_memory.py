"""Memory: kept as long as was said, by nobody else's run seen, and trusted no more than before."""

import asyncio
import json
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from config.settings import RetentionSettings
from models import audit
from models.database import hot
from models.gate import GateMode, flip
from models.ledger import EntryState, StepKind
from models.memory import NAME_BYTES, TENANT, VALUE_BYTES, session, user
from tests import bound_pipelines, memory_pipelines
from tests.bound_pipelines import SENT
from tests.conftest import CATALOGUE, as_if, document, expire_lease, reload, sweep
from tests.memory_pipelines import LEFT
from worker.checkpoint import Entry
from worker.keeping import Keeping, Wanted, find, keep_safe
from worker.outcome import GateShut, LostLease
from worker.purger import Purger

CATALOGUE |= bound_pipelines.PIPELINES | memory_pipelines.PIPELINES


@pytest.fixture(autouse=True)
def empty_mailbox():
    SENT.clear()
    LEFT.clear()


async def memories():
    return await hot().fetch("SELECT * FROM memory ORDER BY tenant, scope, key")


@pytest.fixture
def remembers(submit, attempt):
    """A run that remembers; its row."""

    async def remember(tenant="acme", **given):
        run = await submit("keeper", given, tenant=tenant)
        await attempt(run)
        return await reload(run)

    return remember


@pytest.fixture
def recalls(submit, attempt):
    """What a run recalls."""

    async def recall(tenant="acme", **given):
        run = await submit("teller", given, tenant=tenant)
        await attempt(run)
        row = await reload(run)
        assert row["stop_reason"] == "success", row["detail"]
        return document(row["result"])

    return recall


async def test_what_one_run_remembers_another_of_its_tenant_recalls(remembers, recalls):
    await remembers(customer="bob")

    assert await recalls() == {"there": True, "to": "bob"}
    assert (await recalls(key="other"))["there"] is False
    assert (await recalls(whose="user:u2"))["there"] is False
    assert (await recalls(whose="session:u1"))["there"] is False
    assert (await recalls(whose="tenant"))["there"] is False


async def test_the_last_one_counts_and_says_where_it_is_from(remembers, recalls):
    await remembers(customer="bob")
    last = await remembers(customer="cleo")

    (row,) = await memories()
    assert (await recalls())["to"] == "cleo"
    assert (row["writes"], row["run_id"], row["step"]) == (2, last["id"], "learn")
    assert row["pipeline"] == "keeper"


async def test_the_current_quarter_is_forgotten_when_its_time_is_up(remembers, recalls):
    """Q3 is over, whether or not somebody has purged it."""
    await remembers(customer="Q3", key="quarter", ttl_s=0.5)
    before = await recalls(key="quarter")
    await asyncio.sleep(0.5)
    after = await recalls(key="quarter")

    assert (before["to"], after) == ("Q3", {"there": False, "to": ""})
    assert len(await memories()) == 1
    await Purger(RetentionSettings()).purge()
    assert await memories() == []


async def test_the_purger_takes_what_has_expired_and_leaves_the_rest(remembers):
    await remembers(key="old", ttl_s=0.01)
    await remembers(key="old", ttl_s=0.01, tenant="umbrella")
    await remembers(key="new")
    await asyncio.sleep(0.02)

    await Purger(RetentionSettings()).purge()

    assert [each["key"] for each in await memories()] == ["new"]


@pytest.mark.parametrize("ttl_s", [0, -1, 367 * 86_400])
async def test_without_a_time_nothing_is_remembered(remembers, ttl_s):
    row = await remembers(ttl_s=ttl_s)

    assert "kept for up to 366 days" in row["detail"]
    assert await memories() == []


@pytest.mark.parametrize(
    "given",
    [
        {"whose": f"user:{'u' * (NAME_BYTES + 1)}"},
        {"whose": "user:\u00e9" + "\u00e9" * (NAME_BYTES // 2)},
        {"whose": "user:"},
        {"whose": "acme:u1"},
        {"whose": "user:a\x00b"},
        {"key": ""},
        {"key": "k" * (NAME_BYTES + 1)},
        {"customer": "x" * VALUE_BYTES},
        {"way": "unfit", "text": "shout"},
    ],
    ids=["scope", "bytes", "nobody", "kind", "nul", "empty", "key", "value", "type"],
)
async def test_what_is_too_large_or_does_not_fit_ends_the_run_and_is_on_record(remembers, given):
    row = await remembers(**given)

    assert (row["stop_reason"], await memories()) == ("tool_denied", [])
    lines = await hot().fetch("SELECT tool, guard FROM call_audit WHERE run_id = $1", row["id"])
    assert [tuple(each) for each in lines] == [("memory.remember", "contract")]


@pytest.mark.parametrize("name", ["*", "%", "_", "u_", "u%", "a:b", ".*", " ", "u1/../u2"])
async def test_nothing_in_a_name_is_a_wildcard(remembers, recalls, name):
    await remembers(customer="bob")

    assert (await recalls(whose=f"user:{name}"))["there"] is False
    await remembers(whose=f"user:{name}", customer="odd")
    assert (await recalls(whose=f"user:{name}"))["to"] == "odd"
    assert (await recalls())["to"] == "bob"


async def test_what_does_not_fit_its_type_any_more_is_not_there(remembers, recalls):
    await remembers(way="plain")  # an alert, to ann

    with capture_logs() as logs:
        found = await recalls(as_="bounded")

    assert found["there"] is False
    (line,) = [each for each in logs if each["event"] == "memory.unfit"]
    assert (line["kind"], line["log_level"]) == ("Bounded", "warning")
    assert "ann" not in str(line)


async def test_a_replay_recalls_what_it_recalled_before(submit, attempt, remembers):
    await remembers(customer="bob")
    run = await submit("teller", {"way": "asks"})
    await attempt(run)
    await remembers(customer="cleo")
    await hot().execute("UPDATE review SET verdict = 'approved', decided_at = now()")
    await hot().execute(
        "UPDATE ledger_entry SET state = 'settled', result = '{}' WHERE step = 'sure'"
    )
    await hot().execute(
        "UPDATE run SET status = 'queued', waiting_for = NULL, dispatch_at = now() WHERE id = $1",
        run,
    )

    await attempt(run)

    row = await reload(run)
    assert (row["attempt"], document(row["result"])["to"]) == (2, "bob")
    kinds = await hot().fetch(
        "SELECT kind, tool FROM ledger_entry WHERE run_id = $1 ORDER BY number", run
    )
    assert tuple(kinds[0]) == ("recall", "memory.recall")


async def test_a_resumed_run_does_not_remember_a_second_time(submit, attempt, remembers):
    run = await submit("keeper", {"customer": "bob"})
    await attempt(run)
    await remembers(customer="cleo")
    await as_if(
        "UPDATE run SET status = 'running', stop_reason = NULL, finished_at = NULL, result = NULL,"
        " worker = gen_random_uuid(), lease_expires_at = now() - interval '1 s' WHERE id = $1",
        run,
    )
    await expire_lease(run)
    await sweep()

    await attempt(run)

    assert LEFT == ["bound"] * 3
    (row,) = await memories()
    assert (row["writes"], document(row["value"])["to"]) == (2, "cleo")
    row = await reload(run)
    assert (row["attempt"], row["stop_reason"], row["steps"]) == (2, "success", 3)


# Between tenants.


async def test_no_argument_of_a_run_reaches_another_tenants_memory(remembers, recalls):
    await remembers("umbrella", customer="secret")
    for whose in ("user:u1", "user:umbrella", "user:umbrella:u1", "session:u1", "tenant"):
        for key in ("contact", "umbrella/contact", "umbrella:user:u1:contact"):
            assert (await recalls("acme", whose=whose, key=key))["there"] is False
    assert (await recalls("umbrella"))["to"] == "secret"


_TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=12
)
_NAMES = st.sampled_from(["a", "A", "%", "acme", "umbrella", "tenant", "user:a"]) | _TEXT
_SCOPES = st.just(TENANT) | _NAMES.map(user) | _NAMES.map(session)
_PLACES = st.lists(st.tuples(_SCOPES, _NAMES), min_size=1, max_size=4)


async def held(submit, tenant="acme", attempt_no=1):
    run = await submit("keeper", {}, tenant=tenant)
    await hot().execute(
        "UPDATE run SET status = 'running', worker = gen_random_uuid(), attempt = $2,"
        " lease_expires_at = now() + interval '99 s' WHERE id = $1",
        run,
        attempt_no,
    )
    return run


def keeping(run, *, scope="tenant", key="k", value="v", step=None, ttl_s=60, **more):
    entry = Entry(
        run_id=run,
        attempt=more.get("attempt", 1),
        step=step or uuid4().hex,
        number=1,
        kind=StepKind.REMEMBER,
        args_hash=b"h",
        token=uuid4(),
        state=EntryState.SETTLED,
        tool="memory.remember",
    )
    return Keeping(entry, str(scope), key, json.dumps(value).encode(), b"{}", ttl_s)


@pytest.fixture
async def runs(submit):
    return {each: await held(submit, each) for each in ("acme", "umbrella")}


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ours=_PLACES, theirs=_PLACES)
async def test_two_tenants_never_see_each_others_values_wherever_they_put_them(runs, ours, theirs):
    """All of both in one batch and one transaction, as a busy worker writes them."""
    await hot().execute("DELETE FROM memory")
    places = [("acme", *each) for each in ours] + [("umbrella", *each) for each in theirs]
    assert set(
        await keep_safe(
            [keeping(runs[t], scope=scope, key=key, value=t) for t, scope, key in places]
        )
    ) == {None}
    every = {(str(scope), key) for _, scope, key in places}

    for tenant, own in (("acme", ours), ("umbrella", theirs)):
        mine = {(str(scope), key) for scope, key in own}
        asked = sorted(every)
        found = await find([Wanted(tenant, *each) for each in asked])
        seen = {place: json.loads(f.value) for place, f in zip(asked, found, strict=True) if f}
        assert seen == dict.fromkeys(mine, tenant)


# Once, under the fence, behind the gate.


async def test_an_earlier_attempt_remembers_nothing(submit):
    run = await held(submit, attempt_no=2)

    (answer,) = await keep_safe([keeping(run, attempt=1)])

    assert isinstance(answer, LostLease)
    assert await memories() == []
    assert await hot().fetchval("SELECT count(*) FROM ledger_entry") == 0


async def test_a_flush_repeated_after_a_lost_commit_knows_its_own_and_writes_nothing_again(submit):
    run = await held(submit)
    first, other = keeping(run, value="first"), keeping(run, value="other")

    answers = [await keep_safe([each]) for each in (first, other, first)]

    (row,) = await memories()
    assert answers == [[None]] * 3
    assert (row["writes"], json.loads(row["value"])) == (2, "other")
    assert (await reload(run))["steps"] == 2


async def test_a_step_and_what_it_remembers_are_written_together_or_not_at_all(submit):
    run = await held(submit)
    good, bad = keeping(run), keeping(run, key="bad", ttl_s=float("nan"))

    with pytest.raises(Exception, match="interval"):
        await keep_safe([good, bad])

    assert await memories() == []
    assert await hot().fetchval("SELECT count(*) FROM ledger_entry") == 0


async def test_batches_of_two_workers_in_crossed_orders_never_wait_for_each_other(submit):
    runs = [await held(submit) for _ in range(2)]
    keys = [f"k{n}" for n in range(8)]

    for _ in range(5):
        answers = await asyncio.gather(
            keep_safe([keeping(runs[0], key=key) for key in keys]),
            keep_safe([keeping(runs[1], key=key) for key in reversed(keys)]),
        )
        assert answers == [[None] * 8] * 2


@pytest.mark.parametrize("scope", ["fleet", "tenant:acme", "pipeline:keeper"])
async def test_in_safe_mode_nothing_is_remembered_and_what_is_known_is_recalled(
    submit, attempt, recalls, remembers, scope
):
    await remembers(customer="bob")
    await flip(scope, GateMode.READ_ONLY, who="ada", reason="test")

    (answer,) = await keep_safe([keeping(await held(submit))])
    assert isinstance(answer, GateShut)
    assert (answer.scope, answer.needs) == (scope, GateMode.OPEN)
    assert (await recalls())["to"] == "bob"
    run = await submit("keeper", {"way": "fixed"})
    await attempt(run)
    assert (await reload(run))["waiting_for"] == "gate"
    line = await hot().fetchrow("SELECT tool, guard FROM call_audit WHERE run_id = $1", run)
    assert tuple(line) == ("memory.remember", "gate")
    assert [document(each["value"])["to"] for each in await memories()] == ["bob"]

    await flip(scope, GateMode.OPEN, who="ada", reason="test")
    await hot().execute(
        "UPDATE run SET status = 'queued', waiting_for = NULL, dispatch_at = now() WHERE id = $1",
        run,
    )
    await attempt(run)
    assert (await recalls())["to"] == "desk"


async def test_a_worker_whose_policy_stands_in_safe_mode_remembers_nothing(
    submit, attempt, governed
):
    """Before anybody has put the table's gate so."""
    governed("safe_mode: {enabled: true}")
    run = await submit("keeper", {"way": "fixed"})

    await attempt(run)

    assert ((await reload(run))["waiting_for"], await memories()) == ("gate", [])


async def test_a_flip_waits_for_what_is_being_remembered(submit):
    """After STOPPED nothing is committed that saw the gate open."""
    run = await held(submit)
    (one,) = [keeping(run)]
    async with hot().acquire() as other, other.transaction():
        await other.execute(
            "INSERT INTO memory (tenant, scope, key, value, labels, run_id, step, pipeline,"
            " expires_at) VALUES ('acme', 'tenant', 'k', '1', '{}', $1, 's', 'p', now())",
            run,
        )
        writing = asyncio.create_task(keep_safe([one]))
        await asyncio.sleep(0.2)  # it has passed the gate, and waits for the row
        flipping = asyncio.create_task(flip("fleet", GateMode.READ_ONLY, who="ada", reason="test"))
        await asyncio.sleep(0.2)
        waited = not flipping.done()
    assert (await writing, waited) == ([None], True)
    await flipping
    (refused,) = await keep_safe([keeping(run)])
    assert isinstance(refused, GateShut)


# Labels.


@pytest.fixture
def writes(submit, attempt):
    """A run that recalls whom to write to and does; its row."""

    async def write(**given):
        run = await submit("recaller", given)
        await attempt(run)
        return await reload(run)

    return write


@pytest.mark.parametrize("through", ["", "twice"])
@pytest.mark.parametrize(("way", "to"), [("bound", "ann"), ("fixed", "desk")])
async def test_what_was_trusted_when_it_was_remembered_is_trusted_when_it_is_recalled(
    remembers, writes, way, to, through
):
    await remembers(way=way)

    row = await writes(way=through)

    assert row["stop_reason"] == "success", row["detail"]
    assert [each.to for each in SENT] == [to]


@pytest.mark.parametrize("through", ["", "twice"])
@pytest.mark.parametrize("way", ["plain", "taken", "from the text"])
async def test_memory_launders_nothing(remembers, writes, way, through):
    """Whom a text from outside chose is written to after no detour through memory either."""
    await remembers(way=way, text="eve")

    row = await writes(way=through)

    assert (row["waiting_for"], SENT) == ("review", [])
    asked = await hot().fetchval("SELECT question FROM review")
    assert "/to needs to be trusted, and is untrusted" in asked


async def test_what_text_from_outside_chose_among_few_counts_its_bits_again(remembers, writes):
    await remembers()  # the kind was a model's choice among four

    await writes()

    labels = document(await hot().fetchval("SELECT labels FROM ledger_entry WHERE step = 'send'"))
    assert labels["/kind"] == {
        "trust": "endorsed", "bits": 2.0, "from": ["know:/kind"], "by": "Said, remembered",
    }  # fmt: skip
    assert labels["/to"] == {"trust": "trusted", "from": ["know:/to"]}


async def test_a_type_that_bounds_what_was_untrusted_endorses_it_and_never_trusts_it(
    remembers, writes
):
    await remembers(way="from the text", text="eve")

    row = await writes(as_="bounded")

    assert (row["waiting_for"], SENT) == ("review", [])
    asked = await hot().fetchval("SELECT question FROM review")
    assert "/to needs to be trusted, and is endorsed" in asked


async def test_what_a_type_has_made_of_a_value_has_no_label_of_before(remembers, writes):
    await remembers(customer="Ann")

    row = await writes(as_="folded", way="twice")

    assert (row["waiting_for"], SENT) == ("review", [])


async def test_a_row_says_where_each_part_of_it_came_from(remembers):
    await remembers()

    labels = document((await memories())[0]["labels"])

    assert labels["/to"] == {"trust": "trusted", "from": ["input:/customer"]}
    assert labels["/text"] == {"trust": "untrusted", "from": ["page:/text"]}
    step = await hot().fetchrow("SELECT labels, args FROM ledger_entry WHERE step = 'learn'")
    assert document(step["labels"]) == labels
    assert document(step["args"])["ttl_s"] == timedelta(days=7).total_seconds()
    assert "value" not in document(step["args"])


# Operators.


async def test_an_operator_lists_and_purges_by_scope_and_each_purge_is_in_the_audit(
    remembers, sluice
):
    await remembers(customer="bob")
    await remembers(whose="session:s1", way="taken")
    await remembers("umbrella", customer="secret")

    listed = await sluice("memory", "list", "--tenant", "acme")
    one = await sluice("memory", "list", "--tenant", "acme", "--scope", "session:s1")
    unsaid = await sluice("memory", "purge", "--tenant", "acme")
    gone = await sluice("memory", "purge", "--tenant", "acme", "--scope", "user:u1")
    rest = await sluice("memory", "purge", "--tenant", "acme", "--all")

    assert (listed.code, gone.code, rest.code, unsaid.code) == (0, 0, 0, 2)
    assert "user:u1" in listed.out
    assert "/to trusted" in listed.out
    assert "session:s1" in listed.out
    assert "secret" not in listed.out
    assert "user:u1" not in one.out
    assert "1 memory of acme is gone" in gone.out
    assert [each["tenant"] for each in await memories()] == ["umbrella"]
    told = [json.loads(each.about) for each in await audit.latest(2)]
    assert {each.act for each in await audit.latest(2)} == {"memory"}
    assert [(each["scope"], each["count"]) for each in told] == [(None, 1), ("user:u1", 1)]
    await audit.verify()
