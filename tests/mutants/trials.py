"""The guards' guard: what keeps `sluice guards verify` honest, and harmless."""

from tests.mutants.mutant import Mutant

VERIFIED = "tests/integration/test_guards_verified.py"
TOLD = "tests/integration/test_guards_api.py"

OF_TRIALS = (
    Mutant(
        "-", "a trial believes whatever it sees", "worker/trials/verify.py",
        "if other := seen.other(probe.expected):",
        'if other := "":',
        f"{VERIFIED}::test_a_guard_that_is_taken_out_is_found_unproven",
    ),
    Mutant(
        "-", "a trial looks at the refusals alone", "worker/trials/verify.py",
        "for run, probe in zip(runs, trial.probes, strict=True):",
        "for run, probe in list(zip(runs, trial.probes, strict=True))[:-1]:",
        f"{VERIFIED}::test_a_guard_that_refuses_everything_is_not_proven_either",
    ),
    Mutant(
        "-", "a trial does not look at the count", "worker/trials/verify.py",
        "if grown < lines:",
        "if False:",
        f"{VERIFIED}::test_a_refusal_that_nobody_can_see_afterwards_proves_nothing",
    ),
    Mutant(
        "-", "a line of another policy will do", "worker/trials/stage.py",
        'if each["policy"] == revision else',
        "if True else",
        f"{VERIFIED}::test_a_refusal_that_nobody_can_see_afterwards_proves_nothing",
    ),
    Mutant(
        "-", "what was not tried is kept as a finding", "worker/trials/verify.py",
        "for guard, well, _, told, _ in proofs if well is not None]",
        "for guard, well, _, told, _ in proofs]",
        f"{VERIFIED}::test_behind_a_closed_gate_nothing_is_tried_and_what_was_proven_stays_so",
    ),
    Mutant(
        "-", "a gate that is shut meanwhile is an alarm", "worker/trials/verify.py",
        "if not proof.proven and (told := await _unfit(each, fleet_usd)):",
        'if not proof.proven and (told := ""):',
        f"{VERIFIED}::test_a_gate_that_is_shut_meanwhile_makes_no_alarm",
    ),
    Mutant(
        "-", "two verifications at once", "models/shadow.py",
        "while not await connection.fetchval(_TURN):",
        "while False:",
        f"{VERIFIED}::test_two_at_once_take_turns",
    ),
    Mutant(
        "-", "the trials' rows are left", "worker/trials/verify.py",
        "        stack.push_async_callback(shadow.remove)\n",
        "",
        f"{VERIFIED}::test_it_leaves_nothing_but_the_lines_of_the_audit",
    ),
    Mutant(
        "-", "a gate that a dead verification shut stays shut", "worker/trials/verify.py",
        "        await _open_again()\n",
        "",
        f"{VERIFIED}::test_after_a_kill_the_next_one_puts_everything_right",
    ),
    Mutant(
        "-", "on-call is woken for the trials", "models/notice.py",
        "interval '1 min'\n           AND tenant <> '{SHADOW}'",
        "interval '1 min'",
        f"{VERIFIED}::test_after_a_kill_the_next_one_puts_everything_right",
    ),
    Mutant(
        "-", "a worker judges tools that it does not use", "tools/ward.py",
        ' if each.used > float("-inf")]',
        "]",
        f"{VERIFIED}::test_what_is_ill_and_what_waits_for_it_is_left_alone",
    ),
    Mutant(
        "P9", "labels refuse in the name of approvals", "worker/approval.py",
        "guard=Guard.LABELS if order.judged.faults else Guard.APPROVAL",
        "guard=Guard.APPROVAL",
        f"{VERIFIED}::test_every_guard_that_stands_is_proven",
    ),
    Mutant(
        "-", "an old proof counts for ever", "models/guard.py",
        "if found.age_s > within_s:",
        "if False:",
        f"{TOLD}::test_one_guard_that_is_not_proven_makes_it_ill_and_says_why",
    ),
    Mutant(
        "-", "everybody hears which guard is not proven", "producer/guards.py",
        "    if operator:",
        "    if True:",
        f"{TOLD}::test_whoever_is_no_operator_hears_the_verdict_and_nothing_else",
    ),
    Mutant(
        "-", "a tenant reads the fleet's figures", "producer/metrics.py",
        "if not (await state.doorman.caller(request)).operator:",
        "if (await state.doorman.caller(request)) is None:",
        f"{TOLD}::test_whoever_is_no_operator_hears_the_verdict_and_nothing_else",
    ),
    Mutant(
        "-", "a scrape counts to the end", "models/count.py",
        "WHERE status = 'queued' LIMIT {AT_MOST}",
        "WHERE status = 'queued'",
        f"{TOLD}::test_a_scrape_reads_no_further_than_its_limit_and_never_the_table",
    ),
)  # fmt: skip
