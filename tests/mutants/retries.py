"""The guards of further tries, and of what an operator holds open."""

from tests.mutants.mutant import Mutant

HEALTH, RETRIES = "tests/integration/test_health.py", "tests/integration/test_retry_budget.py"

OF_RETRIES = (
    Mutant(
        "-", "a call is tried again without end", "tools/health.lua",
        "    if wait then return 'again', wait end\n",
        "",
        f"{RETRIES}::test_the_whole_fleet_tries_again_no_more_often_than_the_budget_earns",
    ),
    Mutant(
        "-", "successes earn no further tries", "tools/health.lua",
        "again.floor + again.share * it.good_calls",
        "again.floor",
        f"{RETRIES}::test_successes_earn_a_tenth_of_themselves",
    ),
    Mutant(
        "-", "a further try that was not made is paid", "tools/health.lua",
        "if op.outcome == 'unused' and op.again then it.debt = math.max(0, it.debt - 1) end",
        "",
        f"{RETRIES}::test_a_further_try_that_was_not_made_is_not_paid",
    ),
    Mutant(
        "-", "a first try pays from the budget of retries", "worker/trip.py",
        "self._before + self._tries > 0",
        "True",
        f"{RETRIES}::test_a_run_whose_tool_is_out_of_budget_waits_and_then_goes_on",
    ),
    Mutant(
        "-", "who comes back after a snooze pays for no further try", "worker/trip.py",
        "self._before + self._tries > 0",
        "self._tries > 0",
        f"{RETRIES}::test_a_write_in_doubt_waits_for_its_turn_and_is_never_lost",
    ),
    Mutant(
        "-", "without Redis each worker has the whole budget of retries", "tools/limiter.py",
        "retries.budget_per_second / share",
        "retries.budget_per_second",
        f"{RETRIES}::test_without_redis_each_worker_has_its_share_of_the_budget",
    ),
    Mutant(
        "-", "an overlay changes the fleet's budget of retries", "config/policy_overlay.py",
        "if isinstance(retries, dict) and not budget.isdisjoint(retries):",
        "if False:",
        f"{RETRIES}::test_no_overlay_changes_a_budget_that_the_fleet_shares",
    ),
    Mutant(
        "-", "a newcomer does not know what an operator holds open", "tools/health.py",
        "        await self._ward.meet()\n",
        "",
        f"{HEALTH}::test_what_an_operator_holds_open_is_known_before_the_first_call",
    ),
    Mutant(
        "-", "what an operator holds open is forgotten when nobody calls it", "tools/ward.py",
        " and each.forced is None",
        "",
        f"{HEALTH}::test_what_an_operator_holds_open_is_not_forgotten_while_it_looks_around",
    ),
    Mutant(
        "-", "a forked process mints the tokens of its parent", "worker/token.py",
        "os.register_at_fork(after_in_child=token.begin)",
        "pass",
        "tests/unit/test_token.py::test_a_forked_process_mints_tokens_of_its_own",
    ),
)  # fmt: skip
