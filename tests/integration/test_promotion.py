"""Promotions: a pipeline may do more by itself once people have agreed with it, and no sooner."""

import asyncio
from typing import Any

import orjson
import pytest

from config.policy_autonomy import Independence
from models.agreement import Agreement, measure
from models.audit import latest
from models.autonomy import Autonomy
from models.database import hot
from models.fork import Fork, fork
from models.identity import uuid7
from models.promotion import NotEarned, consider, promote, set_level
from models.review import Verdict
from models.verdict import answer
from tests import bound_pipelines
from tests.conftest import CATALOGUE
from tests.integration.test_retention import aged, purge
from tools.tool import Rejected

CATALOGUE |= bound_pipelines.PIPELINES
USUAL = Independence()
OBSERVE, REVERSIBLE, ACT = Autonomy

_RUN = """
    INSERT INTO run (id, tenant, key, pipeline, version, input, budget, status, stop_reason,
                     finished_at)
    VALUES ($1, $2, gen_random_uuid(), $3, 1, '{}', '{}', 'finished', 'success', now())
"""
_REVIEWS = """
    INSERT INTO review (id, run_id, step, tenant, kind, question, verdict, decided_at)
    SELECT gen_random_uuid(), $1, $3 || n, $2, $4, '?', $3, now() FROM generate_series(1, $5) AS n
"""
_WRITES = """
    INSERT INTO ledger_entry (run_id, step, number, kind, tool, effect, args_hash, state, attempt,
                              token, settled_at)
    SELECT $1, $2 || n, n, 'call', 'probe.write', $4, '', $2, 1, gen_random_uuid(), now()
      FROM generate_series(1, $3) AS n
"""


async def happened(*, tenant: str = "acme", kind: str = "proposal", **counts: int) -> None:
    """So many verdicts of each word on `noop`'s; `settled` and `undone` are writes."""
    run = uuid7()
    await hot().execute(_RUN, run, tenant, "noop")
    for word, count in counts.items():
        if word in {"settled", "undone"}:
            await hot().execute(_WRITES, run, word, count, "write")
        else:
            await hot().execute(_REVIEWS, run, tenant, word, kind, count)


async def lowered(tenant: str = "*") -> None:
    await set_level(tenant, "noop", OBSERVE, USUAL, who="jo", reason="new")


async def level(tenant: str = "*") -> str | None:
    return await hot().fetchval(
        "SELECT level FROM autonomy WHERE pipeline = 'noop' AND tenant = $1", tenant
    )


@pytest.fixture
async def before(database: str) -> int:
    """Lines of the audit are never deleted: the last one of the tests before."""
    return max([line.seq for line in await latest(1)], default=0)


async def audited(before: int) -> list[tuple[str, dict[str, Any]]]:
    lines = [line for line in await latest(20) if line.seq > before]
    assert {line.act for line in lines} == {"autonomy"}
    return [(line.who, orjson.loads(line.about)) for line in lines]


@pytest.mark.parametrize(
    ("seen", "lacks"),
    [
        ({"approved": 50}, ""),
        ({"approved": 49}, "49 decisions where 50 are asked"),
        ({"approved": 49, "expired": 9, "withdrawn": 9}, "49 decisions where 50 are asked"),
        ({"approved": 95, "edited": 5}, ""),
        ({"approved": 94, "edited": 6}, "a precision of 94.00% where 95.00% is asked"),
        ({"approved": 94, "rejected": 6}, "a precision of 94.00% where 95.00% is asked"),
        ({"approved": 95, "edited": 5, "expired": 50}, ""),
        ({"approved": 50, "settled": 98, "undone": 2}, ""),
        ({"approved": 50, "settled": 97, "undone": 3}, "3.00% of its writes undone where 2.00%"),
    ],
)
async def test_below_each_bar_it_is_refused_by_what_is_missing_and_at_the_bar_it_is_given(
    database, seen, lacks
):
    await lowered()
    await happened(**seen)

    if lacks:
        with pytest.raises(NotEarned, match=f"noop stays at observe: {lacks}"):
            await promote("*", "noop", REVERSIBLE, USUAL, who="ada")
    else:
        await promote("*", "noop", REVERSIBLE, USUAL, who="ada")

    assert await level() == ("observe" if lacks else "reversible")


async def test_approvals_count_like_proposals_and_answers_to_questions_do_not(database):
    await lowered()
    await happened(kind="approval", approved=25)
    await happened(approved=24)
    await happened(kind="uncertain", approved=90, edited=7)
    await happened(kind="in_doubt", approved=90)

    case = await consider("*", "noop", REVERSIBLE, USUAL)

    assert case.against == ["49 decisions where 50 are asked (1 more)"]
    assert (case.found.answers.approved, case.found.answers.edited) == (90, 7)


async def test_only_what_was_decided_since_the_level_changed_and_by_this_tenants_people_counts(
    database,
):
    await happened(approved=500)
    await lowered()
    await set_level("other", "noop", OBSERVE, USUAL, who="jo", reason="new")
    await happened(approved=40)
    await happened(approved=70, tenant="other")

    assert (await consider("acme", "noop", REVERSIBLE, USUAL)).found.whole.decided == 40
    assert (await consider("*", "noop", REVERSIBLE, USUAL)).found.whole.decided == 110
    await set_level("*", "noop", REVERSIBLE, USUAL, who="jo", reason="trial", force=True)
    await happened(approved=60, tenant="other")
    await promote("other", "noop", REVERSIBLE, USUAL, who="ada")
    with pytest.raises(NotEarned):
        await promote("*", "noop", ACT, USUAL, who="ada")

    assert (await level(), await level("other"), await level("acme")) == (
        "reversible", "reversible", None,
    )  # fmt: skip


async def test_one_level_at_a_time_and_never_beyond_the_policy_or_what_everybody_has(before):
    await lowered()
    await happened(approved=500)
    told = {}
    for tenant, to, said in (
        ("*", ACT, USUAL),
        ("*", OBSERVE, USUAL),
        ("*", REVERSIBLE, Independence(level="observe")),
        ("acme", REVERSIBLE, USUAL),
    ):
        with pytest.raises(NotEarned) as refused:
            await promote(tenant, "noop", to, said, who="ada")
        told[tenant, to, said.level] = str(refused.value).partition(": ")[2]

    assert list(told.values()) == [
        "one level at a time: reversible comes first",
        "it stands at observe already",
        "the policy's autonomy.level is observe, and nothing goes beyond it",
        "every tenant's level is observe: promote that first, without --tenant",
    ]
    assert len(await audited(before)) == 1


async def test_of_two_that_promote_at_once_one_does(before):
    await lowered()
    await happened(approved=60)

    done = await asyncio.gather(
        *(promote("*", "noop", REVERSIBLE, USUAL, who="ada") for _ in range(8)),
        return_exceptions=True,
    )

    assert sum(not isinstance(each, Exception) for each in done) == 1
    assert {type(each) for each in done if isinstance(each, Exception)} == {NotEarned}
    assert len(await audited(before)) == 2


async def test_lowering_is_free_raising_is_not_and_every_change_is_on_record(before):
    put = {"who": "ada", "reason": "why"}
    assert await set_level("acme", "noop", OBSERVE, USUAL, **put)
    assert not await set_level("acme", "noop", OBSERVE, USUAL, **put)
    with pytest.raises(NotEarned, match="--force without one"):
        await set_level("acme", "noop", REVERSIBLE, USUAL, **put)
    assert await set_level("acme", "noop", ACT, USUAL, **put, force=True)
    with pytest.raises(ValueError, match="reason"):
        await set_level("acme", "noop", OBSERVE, USUAL, who="ada", reason=" ")

    lines = [(about["before"], about["level"], about["how"]) for _, about in await audited(before)]
    assert lines == [("observe", "act", "forced"), ("act", "observe", "set")]
    assert await level("acme") == "act"
    assert await level() is None


async def test_verdicts_on_real_runs_count_by_tool_and_outlive_their_payload(
    submit, attempt, governed
):
    governed("tools: {approvals: {'mail.*': always}}")
    for verdict in (Verdict.APPROVED, Verdict.APPROVED, Verdict.REJECTED):
        run = await submit("mailer", {"customer": "ann"})
        await attempt(run)
        review = await hot().fetchval("SELECT id FROM review WHERE run_id = $1", run)
        await answer(review, verdict, who="jo")
        await attempt(run)

    live = await measure("mailer", "acme", None)
    await aged(8)
    assert (await purge())[0] == 3
    assert await hot().fetchval("SELECT count(*) FROM review") == 0

    (mail,) = live.tools
    assert (mail.tool, mail.approved, mail.rejected, mail.writes) == ("mail.send", 2, 1, 2)
    assert await measure("mailer", "acme", None) == live
    since = await hot().fetchval("SELECT now()")
    assert (await measure("mailer", "acme", since)).whole.decided == 0, "nobody knows the hour"
    assert (await measure("mailer", "other", None)).tools == []


async def test_what_was_taken_back_is_a_reversal_and_taking_it_back_is_no_write(
    submit, attempt, world
):
    run = await submit("put-or-undo", {"n": 7})
    world.breaks("probe.read", Rejected("it does not fit"))
    await attempt(run)

    live = await measure("put-or-undo", None, None)
    await aged(8)
    await purge()

    assert (live.whole.writes, live.whole.undone) == (3, 2)
    assert await measure("put-or-undo", None, None) == live


async def test_what_a_fork_has_copied_is_the_write_of_its_source_alone(submit, attempt):
    run = await submit("five-writes", {"n": 1})
    await attempt(run)
    forked = await fork(Fork(run, "write-3", "fork", "jo", writes_again=True))
    await attempt(forked.run_id)

    live = await measure("five-writes", None, None)
    await aged(8)
    await purge()

    assert live.whole.writes == 5 + 2
    assert await measure("five-writes", None, None) == live


async def test_two_purgers_count_each_verdict_once(submit, attempt):
    for _ in range(4):
        await happened(approved=3, edited=1, settled=2)
    await aged(8)

    await asyncio.gather(*(purge() for _ in range(4)))

    found: Agreement = await measure("noop", None, None)
    assert tuple(found.whole)[1:] == (12, 4, 0, 0, 8, 0)


async def test_an_operator_lowers_looks_promotes_and_is_told_what_it_rests_on(sluice, before):
    low = await sluice("autonomy", "set", "noop", "observe", "--because", "it is new")
    again = await sluice("autonomy", "set", "noop", "observe", "--because", "it is new")
    raised = await sluice("autonomy", "set", "noop", "act", "--because", "hurry")
    await happened(approved=57, edited=3, settled=10)
    await happened(kind="uncertain", approved=4)
    looked = await sluice("autonomy", "promote", "noop", "--to", "reversible", "--dry-run")
    assert await level() == "observe"
    early = await sluice("autonomy", "promote", "noop", "--to", "act")
    done = await sluice("autonomy", "promote", "noop", "--to", "reversible", "--because", "a month")
    shown = await sluice("autonomy")
    later = await sluice("autonomy", "promote", "noop", "--to", "act")

    assert [each.code for each in (low, again, raised, looked, early, done, shown, later)] == [
        0, 0, 1, 0, 1, 0, 0, 1,
    ]  # fmt: skip
    assert "noop is at observe for every tenant\n" in low.out
    assert "and was before" in again.out
    assert "`sluice autonomy promote` raises it on its record" in raised.err
    assert "95.0% (95 %: 86.3% to 98.3%)" in looked.out
    assert "nothing was changed; against it: nothing" in looked.out
    assert "4 answered as it thought" in looked.out
    assert "one level at a time" in early.err
    figures = "57 of 60 decisions approved as it was (95.0%, 95 % interval 86.3% to 98.3%)"
    assert "noop is at reversible for every tenant, and was at observe: " + figures in done.out
    assert "ada" in shown.out
    assert "0 decisions where 200 are asked" in later.err
    (who, about), _ = await audited(before)
    assert (who, about["how"], about["level"], about["record"][0]["approved"]) == (
        "ada", "promoted", "reversible", 57,
    )  # fmt: skip
    assert about["bar"] == {"fewest": 50, "precision": 0.95, "reversals": 0.02}
    assert about["reason"].startswith(f"a month: {figures}")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("set nop observe --because x", "no pipeline is named 'nop': 'noop'?"),
        ("set noop observe --because x --tenant acne", "no tenant is named 'acne'"),
        ("set noop observe --because=", "reason"),
        ("set noop none --because x", "'none' is not one of"),
        ("set noop observe", "Missing option '--because'"),
        ("promote execute-proposal --to act", "it has no level"),
    ],
)
async def test_a_slip_of_the_pen_changes_no_level(sluice, words, told):
    wrong = await sluice("autonomy", *words.split())

    assert wrong.code == 2
    assert told in wrong.err
    assert "Traceback" not in wrong.err
    assert await hot().fetchval("SELECT count(*) FROM autonomy") == 0


async def test_the_policy_says_what_it_asks_for(sluice):
    told = (await sluice("policy", "explain", "--tool", "probe.write")).out

    assert (
        "after 200 decisions, 98.0% of them approved as it was, 1.0% of its writes undone" in told
    )
    assert "at most act" in told
