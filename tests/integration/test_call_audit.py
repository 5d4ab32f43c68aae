"""The audit of calls: every refusal, and every sensitive call before it leaves."""

import asyncio
from datetime import timedelta

import pytest

from models import audit, call_audit
from models.audit import BrokenChain
from models.database import hot
from models.gate import GateMode, flip
from tests import bound_pipelines, conftest
from tests.bound_pipelines import SENT
from tests.conftest import CATALOGUE, reload, until
from worker import journal, use

CATALOGUE |= bound_pipelines.PIPELINES


async def lines():
    return [
        tuple(row)
        for row in await hot().fetch("SELECT guard, reason FROM call_audit ORDER BY at, guard")
    ]


@pytest.mark.parametrize(
    ("policy", "pipeline", "given", "line"),
    [
        ("tools: {deny: ['probe.*']}", "five-writes", {}, ("allowlist", "tool_denied")),
        ("agent: {budgets: {max_steps: 2}}", "five-writes", {}, ("budget", "step_budget")),
        ("validation: {input: {strict: true}}", "says-text", {}, ("contract", "tool_denied")),
        ("{}", "lied-to", {"n": 1}, ("result", "tool_output_invalid")),
        ("tools: {approvals: {'mail.send': always}}", "mailer", {}, ("approval", "review")),
        ("spend: {tenant_usd_per_day: 0.05}", "pay", {"n": 1}, ("spend", "spend")),
    ],
)
async def test_each_refusal_leaves_one_line_that_names_guard_reason_and_policy(
    submit, attempt, governed, policy, pipeline, given, line
):
    governed(policy)
    run = await submit(pipeline, given)

    await attempt(run)
    await hot().execute("UPDATE run SET status = 'queued', dispatch_at = now(), waiting_for = NULL"
                        " WHERE status <> 'finished'")  # fmt: skip
    await attempt(run)

    assert await lines() == [line], "a run that comes back says it once"
    row = await hot().fetchrow("SELECT * FROM call_audit")
    assert (row["run_id"], row["tenant"], len(row["policy"])) == (run, "acme", 16)
    assert await hot().fetchval("SELECT refused FROM guard WHERE name = $1", line[0]) == 1


async def test_a_shut_gate_is_a_refusal_as_well(submit, attempt):
    await flip("fleet", GateMode.READ_ONLY, who="jo", reason="a test")
    run = await submit("five-writes", {})

    await attempt(run)

    assert await lines() == [("gate", "gate")]


async def test_a_sensitive_call_is_on_record_before_it_leaves(
    submit, attempt, governed, monkeypatch
):
    governed("tools: {sensitive: ['mail.*']}")
    known = []

    async def looks(tool, args, call):
        known.append((tool.name, await lines()))
        return await tool.run(args, call)

    monkeypatch.setattr(use, "invoke", looks)
    run = await submit("mailer", {})

    await attempt(run)

    assert (await reload(run))["stop_reason"] == "success"
    assert known == [("page.read", []), ("mail.send", [("sensitive", "sends")])]


async def test_the_calls_are_sealed_into_the_chain_and_a_change_breaks_it(
    submit, attempt, governed
):
    governed("tools: {sensitive: ['mail.*', 'page.*']}")
    SENT.clear()
    await attempt(await submit("mailer", {}))

    assert await call_audit.seal() == 2
    assert await call_audit.seal() == 0
    last = await audit.verify()
    assert last.act == "calls"
    await call_audit.check(last.seq, last.about)
    await hot().execute("UPDATE call_audit SET tool = 'search.read' WHERE tool = 'mail.send'")
    with pytest.raises(BrokenChain, match="not what was written"):
        await call_audit.check(last.seq, last.about)


async def test_every_row_of_the_ledger_names_the_policy_that_judged_it(submit, attempt, governed):
    governed("tools: {deny: ['nothing']}")
    await attempt(await submit("mailer", {}))

    policies = [row[0] for row in await hot().fetch("SELECT policy FROM ledger_entry")]
    assert len(policies) == 3
    assert all(len(each) == 16 for each in policies), "the page, the judgement, the mail"


async def test_a_refusal_is_on_record_though_its_run_is_cut_off_meanwhile(
    submit, attempt, governed, monkeypatch
):
    """Its time is up, or somebody cancels it, while its line waits for its turn."""
    governed("tools: {deny: ['probe.*']}")
    real = call_audit.note

    async def slow(remarks):
        await asyncio.sleep(1)
        return await real(remarks)

    monkeypatch.setattr(journal, "note", slow)
    shared = journal.Journal(patience=timedelta(seconds=2))
    monkeypatch.setattr(conftest, "Journal", lambda **_: shared)
    first, second = await submit("five-writes", {}), await submit("five-writes", {})
    await hot().execute("UPDATE run SET dispatch_at = now() + interval '1 h' WHERE id = $1", second)
    writing = asyncio.create_task(attempt(first))
    await asyncio.sleep(0.3)
    await hot().execute("UPDATE run SET dispatch_at = now() WHERE id = $1", second)
    waiting = asyncio.create_task(attempt(second))
    await asyncio.sleep(0.3)
    waiting.cancel()
    await asyncio.gather(writing, waiting, return_exceptions=True)

    await until(lambda: hot().fetchval("SELECT count(*) = 2 FROM call_audit"), within_s=4)
