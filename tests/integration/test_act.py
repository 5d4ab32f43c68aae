"""`flow.act`: a model proposes, the gateway judges, a person decides."""

import pytest

from models.database import hot
from models.review import Verdict
from models.run import StopReason
from models.verdict import answer as verdict
from producer.review_selection import Selection
from tests import act_pipelines
from tests.act_pipelines import DELETED, SCRIPT, SENT, VIEWS, answers, calls
from tests.conftest import CATALOGUE, document, reload
from tools.tool import Rejected

CATALOGUE |= act_pipelines.PIPELINES


@pytest.fixture
def acts(submit, attempt):
    """Runs a script to the run's departure; its row."""
    for each in (SCRIPT, SENT, VIEWS, DELETED):
        each.clear()

    async def go(*script, **given):
        SCRIPT[:] = script
        run = await submit("acting", given)
        await attempt(run)
        return await reload(run)

    return go


async def steps(run):
    rows = await hot().fetch(
        "SELECT step, kind, state FROM ledger_entry WHERE run_id = $1 ORDER BY number", run
    )
    return [tuple(row) for row in rows]


async def test_reads_are_made_results_are_shown_and_the_answer_is_the_runs(acts):
    row = await acts(calls("page.read"), answers("two people"))

    assert (row["stop_reason"], document(row["result"])["text"]) == ("success", "two people")
    first, second = VIEWS
    assert first.history == []
    assert second.history == [
        {"tool": "page.read", "arguments": {}, "result": act_pipelines.Page.model_validate(
            second.history[0]["result"]).model_dump()}
    ]  # fmt: skip
    assert await steps(row["id"]) == [
        ("people", "call", "settled"),
        ("work/1", "decide", "settled"),
        ("work/1/page.read", "call", "settled"),
        ("work/2", "decide", "settled"),
    ]
    assert (row["steps"], row["calls"], row["tokens"]) == (4, 2, 20)


async def test_the_model_sees_only_what_is_left_open_to_it(acts):
    await acts(answers())

    shown = {each["name"]: each["arguments"] for each in VIEWS[0].tools}
    assert sorted(shown["mail.send"]["properties"]) == ["amount", "kind", "text"]
    assert shown["mail.send"]["required"] == []
    assert "pay" not in shown


async def test_a_write_waits_for_a_person_and_is_then_made_to_whom_the_pipeline_bound(
    acts, attempt
):
    row = await acts(calls("mail.send", text="hello"), answers(), customer="cleo")
    assert (row["waiting_for"], SENT) == ("review", [])
    question = await hot().fetchval("SELECT question FROM review")
    assert "a model proposed it" in question

    await verdict(await hot().fetchval("SELECT id FROM review"), Verdict.APPROVED, who="jo")
    await attempt(row["id"])

    assert [each.to for each in SENT] == ["cleo"]
    assert (await reload(row["id"]))["stop_reason"] == "success"


async def test_what_a_person_rejects_the_model_hears_of(acts, attempt):
    row = await acts(calls("mail.send", text="hello"), answers())
    await verdict(await hot().fetchval("SELECT id FROM review"), Verdict.REJECTED, who="jo")
    await attempt(row["id"])

    assert VIEWS[-1].history[0]["complaints"] == [{"code": "review_rejected", "advice": "stop"}]
    assert ((await reload(row["id"]))["stop_reason"], SENT) == ("success", [])


async def test_what_a_person_rejected_nobody_is_asked_again(acts, attempt):
    """Another call is another question; and who insists too often is ended."""
    same, other = calls("mail.send", text="hello"), calls("mail.send", text="hello!")
    row = await acts(same, same, other, same, same, same, answers())
    for _ in range(2):
        (review,) = await hot().fetch("SELECT id FROM review WHERE verdict IS NULL")
        await verdict(review["id"], Verdict.REJECTED, who="jo")
        await attempt(row["id"])

    assert await hot().fetchval("SELECT count(*) FROM review") == 2
    told = [each["complaints"][0]["code"] for each in VIEWS[-1].history]
    assert told == ["review_rejected"] * 5
    assert ((await reload(row["id"]))["stop_reason"], SENT) == ("model_output_invalid", [])


async def test_each_choice_of_a_model_counts(acts, governed):
    """One of two people, twice, is two bits."""
    governed("{tools: {approvals: {'*': never}}, labels: {max_bits: 1}}")

    row = await acts(calls("mail.answer", to="bob"), calls("mail.answer", to="ann"), answers())

    assert ([each.to for each in SENT], row["waiting_for"]) == (["bob"], "review")
    assert "2.0 of 1 bits" in await hot().fetchval("SELECT question FROM review")


@pytest.mark.parametrize(
    ("policy", "proposal", "sent"),
    [
        ("never", calls("mail.answer", to="bob", text="x"), ["bob"]),
        ("never", calls("mail.answer", to="eve", text="x"), []),
        ("never", calls("mail.note", to="eve"), []),
        ("never", calls("mail.send", kind="alert"), ["ann"]),
    ],
)
async def test_without_a_person_a_model_may_only_choose_among_the_known(
    acts, governed, policy, proposal, sent
):
    """An operator who lets a model write without asking does not let it choose to whom."""
    governed(f"tools: {{approvals: {{'*': {policy}}}}}")

    row = await acts(proposal, answers())

    assert [each.to for each in SENT] == sent
    assert row["status"] == ("finished" if sent else "waiting")


@pytest.mark.parametrize(
    "name", ["pay", "mail.forward", "ticket.create", "", "page.read ", "x" * 200, "pay\0"]
)
async def test_a_tool_that_was_not_offered_ends_the_run(acts, name):
    row = await acts(calls(name, to="eve", amount=5), answers())

    if name:
        assert row["stop_reason"] == "tool_denied"
        assert await hot().fetchval("SELECT guard FROM call_audit") == "allowlist"
    else:
        assert VIEWS[1].history[0]["complaints"][0]["pointer"] == "/call/tool"
    assert SENT == []


async def test_nothing_destructive_is_done_by_a_run_it_is_proposed_and_the_model_told_so(acts):
    row = await acts(*[calls("user.delete", id="ann")] * 2, answers())

    asked = await hot().fetchrow("SELECT id, kind, question FROM review")
    first, second = VIEWS[1].history[0], VIEWS[2].history[1]
    assert (row["stop_reason"], DELETED) == ("success", [])
    assert asked["kind"] == "proposal"
    assert "a model wants it" in asked["question"]
    assert first["complaints"] == [{"code": "proposed", "advice": "stop", "id": str(asked["id"])}]
    assert second["complaints"] == [{"code": "proposed", "advice": "stop"}], "once is enough"
    await verdict(asked["id"], Verdict.APPROVED, who="jo")
    assert await hot().fetchval("SELECT pipeline FROM run WHERE id <> $1", row["id"])


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("not json", {"code": "no_json", "advice": "retry"}),
        ('{"call": {"tool": "page.read"}, "answer": {}}', {"code": "invalid", "advice": "retry"}),
        ({"call": {"tool": "page.read", "arguments": {"url": "http://evil"}}},
         {"code": "unknown", "pointer": "/call/arguments/url", "allowed": []}),
        ({"call": {"tool": "mail.answer", "arguments": {"text": "x"}}},
         {"code": "missing", "pointer": "/call/arguments/to"}),
        ({"call": {"tool": "mail.answer", "arguments": {"to": 5}}},
         {"code": "invalid", "pointer": "/call/arguments/to", "allowed": {"type": "string"}}),
        ({"call": {"tool": "mail.answer", "arguments": {"to": "bob", "kind": "bomb"}}},
         {"code": "invalid", "pointer": "/call/arguments/kind",
          "allowed": {"default": "answer", "type": "string",
                      "enum": ["answer", "reminder", "alert", "offer"]}}),
        ({"call": {"tool": "mail.send", "arguments": {"to": "eve"}}},
         {"code": "bound", "pointer": "/call/arguments/to",
          "allowed": ["amount", "kind", "text"]}),
        ('{"call": {"tool": "mail.answer", "arguments": {"to": 1' + "0" * 40 + "}}}",
         {"code": "invalid", "pointer": "/call/arguments/to"}),
        ({"answer": {"verdict": "splendid"}},
         {"code": "invalid", "pointer": "/answer/verdict"}),
        ("x" * 70_000, {"code": "too_large", "advice": "retry"}),
        (b"\xff\xfe{", {"code": "no_json"}),
        ('{"call": null, "answer": null}', {"code": "invalid"}),
        ('{"answer": {"text": 100000000000000000000}}',
         {"code": "invalid", "pointer": "/answer/text"}),
        ('{"call": {"tool": "mail.send", "arguments": {"a\\u0000": 1}}}', {"code": "unknown"}),
    ],
)  # fmt: skip
async def test_what_fits_no_contract_is_explained_and_nothing_happens(acts, said, complaint):
    row = await acts(said, answers())

    (told,) = VIEWS[1].history[0]["complaints"]
    assert told | complaint == told
    assert (row["stop_reason"], SENT) == ("success", [])


async def test_one_mistake_too_many_ends_the_run(acts):
    row = await acts("not json")

    assert row["stop_reason"] == "model_output_invalid"
    assert len(VIEWS) == 3


async def test_a_model_that_never_answers_is_stopped_by_its_turns_or_its_tokens(acts):
    seen = iter(range(100))
    row = await acts(lambda _: calls("mail.answer", to=f"nobody-{next(seen)}", text="x"))
    assert row["waiting_for"] == "review"

    looping = await acts(calls("page.read"))
    assert looping["stop_reason"] == "loop_detected"


async def test_a_crash_between_saying_and_doing_asks_the_model_no_second_time(acts, attempt, world):
    world.breaks("page.read", MemoryError("its worker dies here"), times=1)
    SCRIPT[:] = [calls("page.read"), answers()]
    row = await acts(calls("page.read"), answers())
    await hot().execute("UPDATE run SET dispatch_at = now()")

    await attempt(row["id"])

    assert (await reload(row["id"]))["stop_reason"] == "success"
    assert len(VIEWS) == 2, "one for each turn"


async def test_one_run_is_kept_to_its_pace_across_attempts(acts, attempt, governed):
    governed("tools: {limits: {'page.read': {run_per_minute: 2}}}\n"
             "agent: {loop_detection: {repeated_calls_threshold: 9}}")  # fmt: skip
    row = await acts(calls("page.read"))
    assert (row["status"], row["waiting_for"]) == ("queued", "rate")
    before = await steps(row["id"])

    await hot().execute("UPDATE run SET dispatch_at = now()")
    await attempt(row["id"])

    assert (await reload(row["id"]))["waiting_for"] == "rate"
    assert await steps(row["id"]) == before
    assert await hot().fetchval("SELECT guard FROM call_audit") == "rate"


@pytest.mark.parametrize("amount", ["5", '"5"'])
async def test_numbers_as_text_are_no_numbers(acts, governed, amount):
    governed("tools: {approvals: {'*': never}}")
    said = f'{{"call": {{"tool": "counter.set", "arguments": {{"n": {amount}}}}}}}'
    row = await acts(said, answers())

    complained = "complaints" in VIEWS[-1].history[0]
    assert (row["stop_reason"], complained) == ("success", amount == '"5"')


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Rejected("no such page"), "success"),
        (Rejected("not logged in", reason=StopReason.TOOL_AUTH_FAILED), "tool_auth_failed"),
        (Rejected("nonsense", reason=StopReason.TOOL_OUTPUT_INVALID), "tool_output_invalid"),
    ],
)
async def test_a_failure_that_the_model_cannot_mend_ends_the_run(acts, world, error, reason):
    async def fails_later(tool, args, call):
        if call.step != "people":
            raise error
        return await tool.run(args, call)

    world.invoke = fails_later

    row = await acts(calls("page.read"), answers())

    assert row["stop_reason"] == reason
    if reason == "success":
        told = VIEWS[1].history[0]["complaints"]
        assert told == [{"code": "tool_failed", "advice": "stop"}], "not in the target's words"


async def test_what_no_text_column_takes_is_told_without_it(acts):
    """A NUL would refuse the batch, with whatever else is in it."""
    row = await acts('{"call": {"tool": "mail.send", "arguments": {"a\\u0000b": 1}}}')

    assert (row["stop_reason"], row["bugs"]) == ("model_output_invalid", 0)
    assert "/a\N{REPLACEMENT CHARACTER}b unknown" in row["detail"]


async def test_a_text_that_no_text_column_takes_hides_no_review_from_the_people(acts):
    await acts(calls("mail.send", text="a\0b"))

    (review,) = await Selection().reviews(10)
    assert document(review["proposal"])["text"] == "a\0b"
    assert [each["reviews"] for each in await Selection().groups()] == [1]


async def test_each_choice_of_a_model_is_counted(acts, governed):
    governed("tools: {approvals: {'*': never}}\nlabels: {max_bits: 2}")
    row = await acts(*[calls("mail.answer", to=to, text="x") for to in ("ann", "bob", "ann")])

    assert [each.to for each in SENT] == ["ann", "bob"]
    assert row["waiting_for"] == "review"
    assert "3.0 of 2 bits" in await hot().fetchval("SELECT question FROM review")


@pytest.mark.parametrize("said", ["1e999", "NaN", "-Infinity"])
async def test_a_number_that_json_does_not_tell_is_neither_shown_nor_sent(acts, said):
    row = await acts(
        '{"call": {"tool": "weigh", "arguments": {"kg": %s}}}' % said,  # noqa: UP031  # braces
        answers(),
    )

    assert (row["stop_reason"], SENT) == ("success", [])
    assert VIEWS[1].history[0]["complaints"][0]["pointer"] == "/call/arguments/kg"


async def test_a_number_of_400_digits_is_a_number(acts):
    row = await acts(
        '{"call": {"tool": "weigh", "arguments": {"kg": 1, "n": %s}}}' % ("9" * 400)
    )  # braces

    assert row["waiting_for"] == "review"


async def test_the_name_of_an_agents_work_is_a_checkpoint_like_any(submit, attempt):
    for name, told in (("input", "references mean the run's input"), ("people", "used once")):
        run = await submit("misnaming", {"goal": name})
        await attempt(run)
        assert told in (await reload(run))["detail"]


async def test_a_tool_is_offered_once(submit, attempt):
    run = await submit("misnaming", {"goal": "twice"})
    await attempt(run)
    assert "offers a tool twice" in (await reload(run))["detail"]
