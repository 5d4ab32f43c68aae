"""`flow.plan`: a list of calls is judged as a whole before the first of them is made."""

import asyncio
from functools import partial

import orjson
import pytest

from config.settings import settings
from models.database import hot
from models.gate import GateMode, flip
from models.review import Verdict
from models.scope import FLEET
from models.verdict import answer as verdict
from tests import conftest, plan_pipelines
from tests.conftest import CATALOGUE, document, expire_lease, reload, sweep
from tests.model_server import model_server
from tests.model_server import says as completes
from tests.plan_pipelines import NAME, RESULTS, SCRIPT, SENT, VIEWS, answers, call, plans
from tools import llm
from tools.tool import Rejected

CATALOGUE |= plan_pipelines.PIPELINES
FREE = "tools: {approvals: {'*': never}}"
"""A policy that lets a model write without a person; what a text chooses still needs one."""


@pytest.fixture
def planned(submit, attempt):
    """Runs a script to the run's departure; its row."""
    for each in (SCRIPT, SENT, VIEWS, RESULTS):
        each.clear()

    async def go(*script, **given):
        SCRIPT[:] = script
        run = await submit("planning", given)
        await attempt(run)
        return await reload(run)

    return go


async def steps(run):
    rows = await hot().fetch(
        "SELECT step, state FROM ledger_entry WHERE run_id = $1 ORDER BY number, step", run
    )
    return [tuple(row) for row in rows]


async def open_reviews():
    return await hot().fetch("SELECT * FROM review WHERE verdict IS NULL ORDER BY step")


async def decide(*verdicts):
    for review, said in zip(await open_reviews(), verdicts, strict=True):
        await verdict(review["id"], said, who="jo")


READ, NOTE, TELL = call("page.read"), call("mail.note", to="ann"), call("mail.send", text="hi")


async def test_a_good_plan_is_made_in_its_order_each_call_once_and_fed_back(planned, governed):
    governed(FREE)
    row = await planned(
        plans(READ, call("mail.answer", to="bob"), call("mail.send", text="hello")),
        answers("both told"),
        customer="cleo",
    )

    assert (row["stop_reason"], document(row["result"])["text"]) == ("success", "both told")
    assert [each.to for each in SENT] == ["bob", "cleo"]
    assert await steps(row["id"]) == [
        ("people", "settled"),
        ("work/1", "settled"),
        ("work/1/check", "settled"),
        ("work/1/1/page.read", "settled"),
        ("work/1/2/mail.answer", "settled"),
        ("work/1/3/mail.send", "settled"),
        ("work/2", "settled"),
    ]
    (round_,) = VIEWS[1].history
    assert [each["tool"] for each in round_["plan"]] == ["page.read", "mail.answer", "mail.send"]
    assert [each["result"].get("to") for each in round_["plan"]] == [None, "bob", "cleo"]
    assert [name for name, _ in RESULTS] == ["page.read", "mail.answer", "mail.send"]
    assert (row["steps"], row["calls"]) == (7, 4)


@pytest.mark.parametrize(
    ("policy", "third", "code", "pointer"),
    [
        ("{}", call("mail.answer", text="x"), "missing", "/plan/2/arguments/to"),
        ("{}", call("mail.answer", to="ann", amount={"x": 1}), "invalid",
         "/plan/2/arguments/amount"),
        ("{}", call("mail.answer", to="ann", url="http://evil"), "unknown",
         "/plan/2/arguments/url"),
        ("{}", call("mail.send", to="eve"), "bound", "/plan/2/arguments/to"),
        ("{}", call("user.delete", id="ann"), "tool_denied", "/plan/2/tool"),
        ("{tools: {deny: ['counter.*']}}", call("counter.set", n=1), "tool_denied",
         "/plan/2/tool"),
        ("{tools: {limits: {'mail.note': {max_calls: 1}}}}", NOTE | call("mail.note", to="bob"),
         "tool_budget", "/plan/2"),
        ("{agent: {budgets: {max_tool_calls: 3}}}", READ, "tool_budget", "/plan/2"),
        ("{agent: {budgets: {max_steps: 5}}}", READ, "step_budget", "/plan/2"),
        ("{agent: {budgets: {max_usd: 0.3}}}", call("archive.copy", to="x"), "cost_budget",
         "/plan/2"),
        ("{validation: {input: {max_bytes: 300}}}", call("mail.answer", to="ann", text="x" * 301),
         "invalid", "/plan/2/arguments"),
    ],
)  # fmt: skip
async def test_a_plan_whose_third_call_is_bad_makes_none_of_the_first_two(
    planned, governed, policy, third, code, pointer
):
    governed(policy)
    row = await planned(plans(READ, NOTE, third), answers())

    (told,) = VIEWS[1].history
    assert (told["complaints"][0]["code"], told["complaints"][0]["pointer"]) == (code, pointer)
    assert len(told["plan"]) == 3
    assert (row["stop_reason"], SENT, RESULTS) == ("success", [], [])
    assert [name for name, _ in await steps(row["id"])] == [
        "people", "work/1", "work/1/check", "work/2",
    ]  # fmt: skip
    assert (row["calls"], row["reserved_usd"], row["spent_usd"]) == (1, 0, 0)
    if code != "bound":
        audited = await hot().fetch("SELECT step FROM call_audit")
        assert [each["step"].rpartition("/")[0] for each in audited] == ["work/1/3"]


@pytest.mark.parametrize("name", ["pay", "pay\0"])
async def test_a_tool_that_was_not_offered_ends_the_run_before_the_first_call(planned, name):
    row = await planned(plans(READ, NOTE, call(name, to="eve")), answers())

    assert (row["stop_reason"], SENT, RESULTS) == ("tool_denied", [], [])
    assert await hot().fetchval("SELECT guard FROM call_audit") == "allowlist"


async def test_calls_that_each_fit_and_together_do_not_are_not_made(planned, governed):
    """0.40 each of 1.00: the third one is too much, and the first two fit as they are."""
    governed(FREE)
    copies = [call("archive.copy", to=each) for each in ("a", "b", "c")]
    row = await planned(plans(*copies), answers())

    told = VIEWS[1].history[0]["complaints"]
    assert told == [{"code": "cost_budget", "advice": "retry", "pointer": "/plan/2",
                     "allowed": {"maxItems": 2}}]  # fmt: skip
    assert (row["stop_reason"], row["spent_usd"], SENT) == ("success", 0, [])


@pytest.mark.parametrize("most", [3, 4])
async def test_what_is_kept_before_a_write_is_a_call_of_its_plan(planned, governed, most):
    governed(FREE + f"\nagent: {{budgets: {{max_tool_calls: {most}}}}}")
    row = await planned(plans(TELL, call("archive.move", to="bob")), answers())

    (round_,) = VIEWS[1].history
    assert ("complaints" in round_) == (most == 3)
    assert [each.to for each in SENT] == ([] if most == 3 else ["ann", "bob"])
    assert (row["stop_reason"], row["calls"]) == ("success", 1 if most == 3 else 4)


async def test_a_budget_that_not_even_the_first_call_fits_ends_the_run_by_its_name(
    planned, governed
):
    governed("{agent: {budgets: {max_usd: 0.1}}}")
    row = await planned(plans(call("archive.copy", to="a")), answers())

    assert (row["stop_reason"], SENT) == ("cost_budget", [])


async def test_a_plan_that_goes_in_circles_is_seen_before_it_is_made(planned, governed):
    """Something written in between makes the same question a new one."""
    governed(FREE)
    row = await planned(
        plans(READ, READ, READ), plans(TELL, READ, call("mail.answer", to="bob"), READ), answers()
    )

    told = VIEWS[1].history[0]["complaints"]
    assert told == [{"code": "loop_detected", "advice": "retry", "pointer": "/plan/2"}]
    assert ([each.to for each in SENT], row["stop_reason"]) == (["ann", "bob"], "success")


@pytest.mark.parametrize(
    ("said", "code", "pointer"),
    [
        (plans(READ, call("page.read", because="why not")), "invalid", "/plan/1/because"),
        (plans(*[READ] * 21), "invalid", "/plan"),
        (plans(*[READ] * 1_000), "too_large", None),
        ("[" * 5_000, "no_json", None),
        (orjson.dumps(plans(READ)) + b" {}", "no_json", None),
    ],
)
async def test_what_is_no_plan_is_explained_and_nothing_happens(planned, said, code, pointer):
    row = await planned(said, answers())

    told = VIEWS[1].history[0]["complaints"][0]
    assert (told["code"], told.get("pointer")) == (code, pointer)
    assert (row["stop_reason"], SENT, RESULTS) == ("success", [], [])


async def test_a_nul_in_the_arguments_of_a_plan_is_told_and_kept(planned, governed):
    governed(FREE)
    said = call("mail.note", to="a\0b") | {"arguments": {"to": "a\0b", "a\0": 1}}
    row = await planned(plans(READ, said), answers())

    assert VIEWS[1].history[0]["complaints"][0]["code"] == "unknown"
    assert (row["stop_reason"], row["bugs"], SENT) == ("success", 0, [])


@pytest.mark.parametrize("said", ["-Infinity", "9" * 400])
async def test_a_number_that_json_does_not_tell_is_explained_and_not_kept(planned, said):
    line = orjson.dumps(plans(READ, call("counter.set", n=0))).replace(b'"n":0', b'"n":%s')
    row = await planned(line % said.encode(), answers())

    assert VIEWS[1].history[0]["complaints"][0]["pointer"] == "/plan/1/arguments/n"
    assert (row["stop_reason"], row["bugs"]) == ("success", 0)


async def test_one_mistake_too_many_ends_the_run(planned):
    row = await planned(plans(READ, call("user.delete", id="ann")))

    assert row["stop_reason"] == "model_output_invalid"
    assert "/plan/1/tool tool_denied" in row["detail"]
    assert len(VIEWS) == 3


async def test_who_plans_on_after_the_last_round_is_ended(planned, governed):
    governed(FREE)
    row = await planned(
        *[plans(call("mail.send", text=each)) for each in ("a", "b")], "nonsense",
        *[plans(call("mail.send", text=each)) for each in ("c", "d")],
    )  # fmt: skip

    assert row["stop_reason"] == "step_budget"
    assert [each.text for each in SENT] == ["a", "b", "c"], "a mistake costs no round"
    assert [each.turns_left for each in VIEWS] == [4, 3, 2, 2, 1]


async def test_all_that_a_person_must_allow_is_asked_before_the_first_call(planned, attempt):
    first = call("mail.send", text="hello")
    row = await planned(plans(READ, first, call("mail.answer", to="bob")), answers())

    asked = await open_reviews()
    assert [each["step"] for each in asked] == ["work/1/2/mail.send", "work/1/3/mail.answer"]
    assert {each["kind"] for each in asked} == {"approval"}
    assert (row["waiting_for"], SENT, RESULTS) == ("review", [], [])
    guards = await hot().fetch("SELECT guard FROM call_audit ORDER BY step")
    assert [each["guard"] for each in guards] == ["approval", "approval"]

    await decide(Verdict.APPROVED, Verdict.APPROVED)
    await attempt(row["id"])

    after = await reload(row["id"])
    assert [each.to for each in SENT] == ["ann", "bob"]
    assert (after["stop_reason"], after["steps"], after["calls"]) == ("success", 7, 4)
    assert len(VIEWS) == 2
    used = await hot().fetch("SELECT used_at FROM review")
    assert all(each["used_at"] for each in used)


@pytest.mark.parametrize("dry", [True, False])
async def test_what_of_a_plan_is_withheld_is_asked_once_as_a_proposal_and_never_of_a_dry_run(
    planned, submit, attempt, governed, dry
):
    governed("autonomy: {level: observe}")
    SCRIPT[:] = [plans(READ, NOTE), answers()]
    run = await submit("planning", {}, dry_run=dry)
    await attempt(run)

    assert (await reload(run))["stop_reason"] == "success"
    assert (SENT, [each["tool"] for each in VIEWS[-1].history[0]["plan"]]) == (
        [], ["page.read", "mail.note"],
    )  # fmt: skip
    reviews = await hot().fetch("SELECT kind, verdict FROM review")
    assert [tuple(each) for each in reviews] == [("proposal", "withdrawn" if dry else None)]


@pytest.mark.parametrize("said", [Verdict.REJECTED, "late"])
async def test_a_persons_no_to_one_call_is_a_no_to_the_plan_and_is_not_asked_again(
    planned, attempt, said, capsys
):
    bob = call("mail.answer", to="bob")
    row = await planned(plans(READ, NOTE, bob), plans(bob), answers())
    if said == "late":
        await decide_late()
    else:
        await decide(Verdict.APPROVED, said)
    await attempt(row["id"])

    reason = "review_expired" if said == "late" else "review_rejected"
    first, second = VIEWS[-1].history
    assert [each.get("complaints", each.get("made")) for each in first["plan"]] == [
        False, False, [{"code": reason, "advice": "stop"}],
    ]  # fmt: skip
    assert second["complaints"] == [{"code": reason, "advice": "stop", "pointer": "/plan/0"}]
    assert (SENT, RESULTS) == ([], []), "what was read for nothing is not read either"
    assert "run.passed_over" not in capsys.readouterr().out, "the run came by all of its record"
    assert (await reload(row["id"]))["stop_reason"] == "success"
    assert await hot().fetchval("SELECT count(*) FROM review") == 2


async def test_a_plan_of_a_dry_run_asks_nobody(planned, submit, attempt):
    SCRIPT[:] = [plans(READ, NOTE), answers()]
    run = await submit("planning", {}, dry_run=True)

    await attempt(run)

    assert ((await reload(run))["stop_reason"], SENT) == ("success", [])
    assert await hot().fetch("SELECT FROM review WHERE kind <> 'proposal'") == []


async def test_what_was_asked_about_has_the_number_it_has_when_it_is_made(planned, attempt):
    """By their numbers a fork and a roll-back know what came first: a snapshot before its write."""
    row = await planned(plans(call("archive.move", to="bob"), NOTE), answers())
    await decide(*[Verdict.APPROVED] * len(await open_reviews()))

    await attempt(row["id"])

    assert (await reload(row["id"]))["stop_reason"] == "success"
    numbers = dict(await hot().fetch("SELECT step, number FROM ledger_entry"))
    moved = next(each for each in numbers if each.endswith("archive.move"))
    assert numbers[f"{moved}/snapshot"] == numbers[moved] - 1
    assert len(set(numbers.values())) == len(numbers)


async def decide_late():
    """The one in the middle is allowed, the last one nobody answers."""
    note_, bob = await open_reviews()
    await verdict(note_["id"], Verdict.APPROVED, who="jo")
    await hot().execute("UPDATE review SET decide_by = now() WHERE id = $1", bob["id"])
    await sweep()


async def test_a_failed_call_ends_its_plan_and_the_model_sees_what_was_done(
    planned, governed, world
):
    governed(FREE)
    world.breaks("mail.answer", Rejected("no such person"))
    row = await planned(plans(READ, call("mail.answer", to="bob"), TELL), answers())

    done = VIEWS[1].history[0]["plan"]
    assert "result" in done[0]
    assert done[1]["complaints"] == [{"code": "tool_failed", "advice": "stop"}]
    assert done[2]["made"] is False
    assert (row["stop_reason"], SENT) == ("success", [])


async def test_what_a_page_says_chooses_no_recipient_in_the_next_round(planned, governed):
    """The model obeys the text; the operator lets it write; a person is asked all the same."""
    governed(FREE)

    def obeys(view):
        assert "eve@evil.example" in str(view.history[0]["plan"][0]["result"])
        return plans(READ, call("mail.answer", to="eve@evil.example"))

    row = await planned(plans(READ), obeys, answers())

    (asked,) = await open_reviews()
    assert "/to needs to be endorsed" in asked["question"]
    assert (row["waiting_for"], SENT, len(RESULTS)) == ("review", [], 1)


async def test_what_was_not_found_before_its_plan_is_no_choice_where_only_that_will_do(planned):
    """Nobody is asked: the model is told, and the audit hears of it."""
    row = await planned(plans(READ, call("mail.forward", to="eve")), answers())

    told = VIEWS[1].history[0]["complaints"]
    assert told == [{"code": "not_found", "advice": "retry", "pointer": "/plan/1/arguments/to"}]
    assert (row["stop_reason"], SENT, RESULTS) == ("success", [], [])
    audited = await hot().fetchrow("SELECT guard, step FROM call_audit")
    assert tuple(audited) == ("labels", "work/1/2/mail.forward")


async def test_many_small_choices_in_one_plan_are_added_up_before_it_is_made(planned, governed):
    governed(FREE + "\nlabels: {max_bits: 2}")
    row = await planned(
        plans(*[call("mail.answer", to=to, text=to) for to in ("ann", "bob", "ann")]), answers()
    )

    (asked,) = await open_reviews()
    assert "3.0 of 2 bits" in asked["question"]
    assert (asked["step"], row["waiting_for"], SENT) == ("work/1/3/mail.answer", "review", [])


async def test_an_examination_leaves_the_run_as_it_was(planned, governed):
    """Judged twice and refused once: the second plan has the whole budget, and all bits."""
    governed(FREE + "\nlabels: {max_bits: 2}\nagent: {budgets: {max_tool_calls: 4}}")
    two = [call("mail.answer", to=to, text=to) for to in ("ann", "bob")]
    row = await planned(plans(*two, call("user.delete", id="x")), plans(*two, READ), answers())

    assert row["stop_reason"] == "success"
    assert [each.to for each in SENT] == ["ann", "bob"]


@pytest.fixture
def strikes(monkeypatch, world):
    """The n-th way to the database or back from a tool is not gone until it is told to."""

    class Strike:
        at, passed = 0, 0
        reached, may_go_on = asyncio.Event(), asyncio.Event()

        async def __call__(self):
            self.passed += 1
            if self.passed == self.at:
                self.reached.set()
                await self.may_go_on.wait()

    strike = Strike()

    class Slow(conftest.Journal):
        def __init__(self, **more):
            super().__init__(**more)
            for name in ("record", "intend", "settle"):
                setattr(self, name, partial(self._after, getattr(self, name)))

        async def _after(self, write, entry):
            await strike()
            return await write(entry)

    async def invoke(tool, args, call_):
        result = await tool.run(args, call_)
        await strike()
        return result

    monkeypatch.setattr(conftest, "Journal", Slow)
    world.invoke = invoke
    return strike


_NO_LONGER_UNDER_WAY = """
    WITH late AS (UPDATE run SET dispatch_at = now() WHERE id = $1 RETURNING id)
    UPDATE ledger_entry SET quiet_at = now() - interval '1 min' FROM late
     WHERE run_id = late.id AND state = 'reserved'
"""


@pytest.mark.parametrize("moment", [
    moment if moment in {3, 4, 7, 8} else pytest.param(moment, marks=pytest.mark.long)
    for moment in range(1, 14)
])  # fmt: skip
async def test_whenever_its_worker_is_lost_the_same_plan_is_carried_out_once(
    submit, attempt, governed, world, strikes, moment
):
    """Another one takes over; and the first one that wakes again changes nothing."""
    governed(FREE)
    SENT.clear()
    VIEWS.clear()
    SCRIPT[:] = [plans(READ, call("mail.answer", to="bob"), TELL), answers()]
    strikes.at = moment
    run = await submit("planning", {})
    first = asyncio.create_task(attempt(run))
    await asyncio.wait_for(strikes.reached.wait(), 5)
    await expire_lease(run)
    await sweep()

    for _ in range(3):  # a write in doubt waits until it can no longer be under way
        await attempt(run)
        await hot().execute(_NO_LONGER_UNDER_WAY, run)
    strikes.may_go_on.set()
    await first

    row = await reload(run)
    assert (row["stop_reason"], row["crashes"]) == ("success", 1)
    assert await steps(run) == [(step, "settled") for step in (
        "people", "work/1", "work/1/check", "work/1/1/page.read", "work/1/2/mail.answer",
        "work/1/3/mail.send", "work/2",
    )]  # fmt: skip
    assert [len(world.keys(name)) for name in ("mail.answer", "mail.send")] == [1, 1]
    assert len(VIEWS) <= 3, "a saying on record is not asked for again"


async def test_what_was_found_right_is_carried_out_and_what_was_found_wrong_is_not(
    planned, attempt, governed, world
):
    """Another policy came between: what the record says stays, and the gates are today's."""
    governed("{tools: {deny: ['mail.note'], approvals: {'*': never}}}")
    world.breaks("mail.answer", MemoryError("its worker dies here"), times=1)
    row = await planned(plans(READ, NOTE), plans(READ, call("mail.answer", to="bob")), answers())
    assert row["status"] == "queued"

    governed(FREE)
    await hot().execute("UPDATE run SET dispatch_at = now()")
    await attempt(row["id"])

    assert (await reload(row["id"]))["stop_reason"] == "success"
    assert VIEWS[-1].history[0]["complaints"][0]["pointer"] == "/plan/1/tool"
    assert [each.to for each in SENT] == ["bob"]
    assert len(VIEWS) == 3


async def test_a_plan_found_right_that_the_policy_denies_before_its_first_call_is_not_made(
    planned, attempt, governed, world
):
    governed(FREE)

    async def dies(tool, args, call_):
        if call_.step.startswith("work/1/1"):
            raise MemoryError("its worker dies here")
        return await tool.run(args, call_)

    sound, world.invoke = world.invoke, dies
    row = await planned(plans(READ, TELL), answers())
    assert [step for step, _ in await steps(row["id"])][-1] == "work/1/check"

    world.invoke = sound
    governed("{tools: {deny: ['mail.send'], approvals: {'*': never}}}")
    await hot().execute("UPDATE run SET dispatch_at = now()")
    await attempt(row["id"])

    assert ((await reload(row["id"]))["stop_reason"], SENT, RESULTS) == ("tool_denied", [], [])


async def test_a_gate_that_is_shut_in_the_middle_of_a_plan_parks_it_there(
    planned, attempt, governed, world
):
    governed(FREE)

    async def shuts(tool, args, call_):
        result = await tool.run(args, call_)
        if tool.name == "mail.answer":
            await hot().execute("UPDATE gate SET mode = 'read_only', epoch = epoch + 1")
        return result

    world.invoke = shuts
    row = await planned(plans(READ, call("mail.answer", to="bob"), TELL), answers())
    assert (row["waiting_for"], [each.to for each in SENT]) == ("gate", ["bob"])

    await flip(FLEET, GateMode.OPEN, who="ada", reason="a test")
    await sweep()
    await attempt(row["id"])

    assert (await reload(row["id"]))["stop_reason"] == "success"
    assert [each.to for each in SENT] == ["bob", "ann"]
    assert len(VIEWS) == 2


async def test_a_plan_has_one_round_at_least(submit, attempt):
    run = await submit("misplanning", {})
    await attempt(run)
    assert "one round at least, not in 0" in (await reload(run))["detail"]


async def test_a_language_model_plans_sees_the_tools_and_is_told_what_is_wrong(
    planned, submit, attempt, governed, monkeypatch
):
    governed("tools: {approvals: {'mail.*': never}}")
    async with model_server() as server:
        named = {NAME: {"base_url": server.url, "model": "probe-1", "usd_per_million_in": 1,
                        "usd_per_million_out": 1}}  # fmt: skip
        monkeypatch.setenv("SLUICE_MODELS", orjson.dumps(named).decode())
        settings.cache_clear()
        server.will(
            completes(plans(READ, call("mail.answer", to=5))),
            completes(plans(READ, call("mail.answer", to="bob"))),
            completes(answers("told")),
        )
        try:
            run = await submit("planning-asked", {"goal": "Tell Bob of the parcel"})
            await attempt(run)
        finally:
            await llm.close()
            monkeypatch.undo()
            settings.cache_clear()

        row = await reload(run)
        assert (row["stop_reason"], [each.to for each in SENT]) == ("success", ["bob"])
        first, second, third = [
            [each["content"] for each in request["messages"]] for request in server.requests
        ]
        for ours, theirs in (first, second, third):
            assert "Tell Bob of the parcel" in ours
            assert "mail.answer" in ours
            assert "eve@evil.example" not in ours
            assert "=====" in theirs
        assert "/plan/1/arguments/to" in second[1]
        assert "eve@evil.example" in third[1]
        assert "2 more plans" in third[0]
