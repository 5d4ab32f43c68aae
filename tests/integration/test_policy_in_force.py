"""The policy in force: each key of it, seen from outside the gateway."""

import pytest
from structlog.testing import capture_logs

from models.database import hot
from models.run import StopReason
from tests.conftest import document, reload
from tools.tool import Ambiguous, Rejected, Unavailable
from worker import retry, use


def answered(status: int) -> Unavailable:
    error = Unavailable(f"it answered {status}")
    error.status = status
    return error


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("tools: {deny: ['probe.wr*']}", "tools.deny of the policy (probe.wr*)"),
        ("tools: {allow: ['kb.read']}", "tools.allow of the policy: it does not name it"),
        ("tools: {allow: ['*'], deny: ['probe.write']}", "tools.deny of the policy (probe.write)"),
        ("tenants: {acme: {tools: {deny: ['*.write']}}}", "tools.deny of the policy (*.write)"),
        ("pipelines: {five-writes: {tools: {allow: []}}}", "it does not name it"),
    ],
)
async def test_a_tool_that_the_policy_does_not_let_pass_is_denied_by_name_of_the_rule(
    submit, attempt, world, governed, policy, told
):
    governed(policy)
    run = await submit("five-writes", {})

    await attempt(run)

    row = await reload(run)
    assert (row["stop_reason"], world.calls) == (StopReason.TOOL_DENIED, [])
    assert told in row["detail"]
    assert await hot().fetchval("SELECT count(*) FROM ledger_entry") == 0


async def test_an_allowed_tool_passes(submit, attempt, governed):
    governed("tools: {allow: ['probe.*']}")
    run = await submit("five-writes", {})

    await attempt(run)

    assert (await reload(run))["stop_reason"] == StopReason.SUCCESS


@pytest.mark.parametrize(
    ("ceiling", "pipeline", "given", "calls", "reason"),
    [
        ("max_steps: 4", "five-writes", {}, 4, StopReason.STEP_BUDGET),
        ("max_tool_calls: 3", "five-writes", {}, 3, StopReason.TOOL_BUDGET),
        ("max_unique_calls: 2", "five-writes", {}, 2, StopReason.TOOL_BUDGET),
        ("max_usd: 0.20", "pay", {"n": 3}, 2, StopReason.COST_BUDGET),
        ("max_usd: 100", "pay", {"n": 5}, 3, StopReason.COST_BUDGET),
        ("max_steps: 5, max_tool_calls: 5, max_unique_calls: 5", "five-writes", {}, 5,
         StopReason.SUCCESS),
        ("max_seconds: 0.3", "wait", {"seconds": 5}, 1, StopReason.TIME_BUDGET),
    ],
)  # fmt: skip
async def test_a_run_stops_at_the_lower_ceiling_of_its_pipeline_and_the_policy(
    submit, attempt, world, governed, ceiling, pipeline, given, calls, reason
):
    governed(f"agent: {{budgets: {{{ceiling}}}}}")
    run = await submit(pipeline, given)

    await attempt(run)

    assert ((await reload(run))["stop_reason"], len(world.calls)) == (reason, calls)


@pytest.mark.parametrize(("most", "reason"), [(5, "success"), (4, "tool_budget")])
async def test_a_tools_own_ceiling_holds_across_a_crash(
    submit, attempt, world, governed, most, reason
):
    governed(f"tools: {{limits: {{'probe.write': {{max_calls: {most}}}}}}}")
    run = await submit("five-writes", {})

    async def dies_at_the_third(tool, args, call):
        if args.n == 2:
            world.loses_answer("probe.write", MemoryError("its worker dies here"))
        return await world(tool, args, call)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(use, "invoke", dies_at_the_third)
        await attempt(run)
    await hot().execute("UPDATE run SET dispatch_at = now() WHERE id = $1", run)

    await attempt(run)

    assert (await reload(run))["stop_reason"] == reason
    written = await hot().fetchval("SELECT count(*) FROM ledger_entry WHERE state = 'settled'")
    assert written == most


async def test_a_shorter_time_out_of_the_policy_counts(submit, attempt, governed):
    governed("tools: {timeouts_s: {default: 60, 'probe.wait': 0.2}, retries: {max_attempts: 1}}")
    run = await submit("wait", {"seconds": 5})

    held = await attempt(run)

    row = await reload(run)
    assert (row["status"], row["waiting_for"]) == ("queued", "tool")
    assert "did not answer within 0.2 s" in row["detail"]
    assert held.active_s() < 3


@pytest.mark.parametrize("attempts", [1, 2])
async def test_a_call_is_tried_in_place_as_often_as_the_policy_says(
    submit, attempt, world, governed, attempts
):
    governed(f"tools: {{retries: {{max_attempts: {attempts}, backoff_ms: [1]}}}}")
    run = await submit("five-writes", {})
    world.breaks("probe.write", Unavailable("busy"), times=9)

    await attempt(run)

    assert (await reload(run))["waiting_for"] == "tool"
    assert world.count("probe.write") == attempts


async def test_a_call_is_tried_again_only_as_often_as_the_policy_says_snoozes_included(
    submit, attempt, world, governed
):
    governed("tools: {limits: {'probe.*': {max_retries: 2}}, retries: {max_attempts: 1}}")
    run = await submit("five-writes", {})
    world.breaks("probe.write", Unavailable("busy"), times=9)

    for _ in range(3):
        await attempt(run)
        await hot().execute("UPDATE run SET dispatch_at = now() WHERE status = 'queued'")

    assert (await reload(run))["stop_reason"] == StopReason.TOOL_FAILED
    assert world.count("probe.write") == 3


@pytest.mark.parametrize(("status", "tries"), [(503, 2), (418, 1)])
async def test_only_an_answer_that_the_policy_lists_is_worth_another_try(
    submit, attempt, world, governed, status, tries
):
    governed("tools: {retries: {retryable_status: [429, 503], backoff_ms: [1]}}")
    run = await submit("five-writes", {})
    world.breaks("probe.write", answered(status))

    await attempt(run)

    row = await reload(run)
    expected = StopReason.SUCCESS if tries == 2 else StopReason.TOOL_FAILED
    assert row["stop_reason"] == expected
    assert world.keys("probe.write") >= {f"{run}:write-0"}
    assert world.count("probe.write") == (6 if tries == 2 else 1)


async def test_a_doubt_is_still_resolved_after_an_answer_that_is_worth_no_other_try(
    submit, attempt, world, governed
):
    governed("tools: {retries: {retryable_status: [503], backoff_ms: [1]}}")
    run = await submit("five-writes", {})
    lost = Ambiguous("it answered 502")
    lost.status = 502
    world.loses_answer("probe.write", lost)

    await attempt(run)

    assert (await reload(run))["stop_reason"] == StopReason.SUCCESS


def test_the_pauses_between_tries_are_the_policys():
    longest = [max(retry.pause(n, None, (250, 750)).seconds for _ in range(200)) for n in (1, 2, 9)]

    assert longest[0] <= 0.25 < longest[1] <= 0.75
    assert 0.25 < longest[2] <= 0.75


@pytest.mark.parametrize(
    ("pipeline", "tool", "reason"),
    [("once", "probe.once", "tool_denied"), ("once-looked-up", "probe.lookup", "success"),
     ("five-writes", "probe.write", "success")],
)  # fmt: skip
async def test_a_write_that_must_be_idempotent_needs_a_target_that_can_tell(
    submit, attempt, governed, pipeline, tool, reason
):
    governed(f"tools: {{idempotency_required: ['{tool}']}}")
    run = await submit(pipeline, {"n": 5})

    await attempt(run)

    assert (await reload(run))["stop_reason"] == reason


@pytest.mark.parametrize(("strict", "reason"), [("true", "tool_denied"), ("false", "success")])
async def test_strict_arguments_are_not_coerced(submit, attempt, world, governed, strict, reason):
    governed(f"validation: {{input: {{strict: {strict}}}}}")
    run = await submit("says-text", {"n": 5})

    await attempt(run)

    row = await reload(run)
    assert row["stop_reason"] == reason
    if strict == "true":
        assert "/n" in row["detail"]
        assert world.calls == []
    else:
        assert document(row["result"]) == {"n": 5}


async def test_each_call_writes_one_line_with_the_fields_that_the_policy_names(
    submit, attempt, world, governed
):
    governed("logging: {include: [run_id, tool, args_hash, elapsed_s, status, stop_reason]}")
    run = await submit("five-writes", {})
    world.breaks("probe.write", Rejected("no"))

    with capture_logs() as logs:
        await attempt(run)

    lines = [each for each in logs if each["event"] == "step.done"]
    assert [(each["run_id"], each["tool"], each["status"]) for each in lines] == [
        (str(run), "probe.write", "rejected")
    ]
    assert lines[0]["stop_reason"] == StopReason.TOOL_FAILED
    assert set(lines[0]) == {
        "event", "log_level", "run_id", "tool", "args_hash", "elapsed_s", "status", "stop_reason",
    }  # fmt: skip


async def test_without_such_fields_no_call_writes_a_line(submit, attempt):
    with capture_logs() as logs:
        await attempt(await submit("five-writes", {}))

    assert "step.done" not in {each["event"] for each in logs}


@pytest.mark.parametrize(
    ("policy", "reason", "called"),
    [
        ("input: {max_bytes: 6}", StopReason.TOOL_DENIED, 0),
        ("output: {max_bytes: 6}", StopReason.TOOL_OUTPUT_INVALID, 1),
        ("input: {max_bytes: 7}, output: {max_bytes: 7}", StopReason.SUCCESS, 5),
    ],
)
async def test_what_is_too_large_is_not_sent_and_not_kept(
    submit, attempt, world, governed, policy, reason, called
):
    """`{"n":0}` has seven bytes."""
    governed(f"validation: {{{policy}}}")
    run = await submit("five-writes", {})

    await attempt(run)

    assert ((await reload(run))["stop_reason"], len(world.calls)) == (reason, called)
