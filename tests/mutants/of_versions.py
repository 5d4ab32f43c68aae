"""The guards around versions, forks, routes and transitions, as in `catalogue`."""

from tests.mutants.mutant import Mutant

FORK, VERSIONS = "tests/integration/test_fork.py", "tests/integration/test_versions.py"
ROUTES = "tests/integration/test_error_routes.py"
TRANSITIONS = "tests/integration/test_transitions.py"
MISMATCH = "tests/unit/test_mismatch.py"
REFUSALS = f"{FORK}::test_only_what_is_over_and_known_is_forked"
MIGRATION = "models/migrations/versions/0014_forks_and_transitions.py"

OF_VERSIONS = (
    Mutant(
        "P3", "a fork's first attempt does not load its record", "worker/runner.py",
        "if held.attempt > 1 or held.forked:",
        "if held.attempt > 1:",
        f"{FORK}::test_a_fork_replays_what_is_before_its_step_and_makes_the_rest_under_its_own_keys",
    ),
    Mutant(
        "P4", "a fork writes again what nobody has agreed to", "models/fork.py",
        "if again and not asked.writes_again:",
        "if False:",
        f"{FORK}::test_what_the_source_has_written_is_written_again_only_if_somebody_says_so",
    ),
    Mutant(
        "P1", "a fork's key is not compared", "models/fork.py",
        'if known["fingerprint"] != mark:',
        "if False:",
        f"{FORK}::test_the_same_key_gives_the_same_fork_and_another_step_or_input_is_refused",
    ),
    Mutant(
        "P4", "a run that is not over is forked", "models/fork_point.py",
        "if status != RunStatus.FINISHED:",
        "if False:",
        REFUSALS,
    ),
    Mutant(
        "P9", "another tenant's run is forked", "models/fork.py",
        "WHERE id = $1 AND ($2::text IS NULL OR tenant = $2) FOR SHARE",
        "WHERE id = $1 AND ($2::text IS NULL OR true) FOR SHARE",
        REFUSALS,
    ),
    Mutant(
        "P4", "a run with a write in doubt is forked", "models/fork_point.py",
        'if doubts := [e["step"] for e in entries if _doubtful(e)]:',
        "if doubts := []:",
        f"{FORK}::test_a_run_with_a_write_in_doubt_is_not_forked",
    ),
    Mutant(
        "P5", "a fork's copies bring their money along", "models/fork.py",
        "0 AS spent_usd",
        "spent_usd",
        f"{FORK}::test_a_forks_copies_cost_nothing_and_are_in_no_window_twice",
    ),
    Mutant(
        "P4", "a fork takes back what its source wrote", "worker/rollback.py",
        "and each.copied_from is None",
        "",
        f"{FORK}::test_a_roll_back_in_a_fork_leaves_what_its_source_has_written",
    ),
    Mutant(
        "P4", "a fork goes by its source's snapshot", "models/fork_point.py",
        'if each["step"] == step + SNAPSHOT), first)',
        "if False), first)",
        "tests/integration/test_snapshots.py"
        "::test_a_fork_of_a_write_keeps_anew_what_stands_there_now",
    ),
    Mutant(
        "P3", "a write on record may be left out", "worker/runner.py",
        "        if each.left_something:\n",
        "        if False:\n",
        f"{VERSIONS}::test_a_write_on_record_that_the_pipeline_never_comes_to_is_a_mismatch",
    ),
    Mutant(
        "-", "a mismatch tells secrets", "worker/mismatch.py",
        "*(redact(each) for each in pair))",
        "*pair)",
        f"{MISMATCH}::test_a_secret_is_told_on_neither_side_and_neither_is_its_hash",
    ),
    Mutant(
        "-", "a mismatch gives the hash of what it hides", "worker/mismatch.py",
        "    if seen != value:",
        "    if False:",
        f"{MISMATCH}::test_a_secret_within_a_long_text_is_not_hashed",
    ),
    Mutant(
        "-", "a failure that pages is passed over as minor", "worker/fallback.py",
        "if ROUTES[failure.reason] is Route.CRITICAL:",
        "if False:",
        f"{ROUTES}::test_a_critical_failure_is_no_minor_one",
    ),
    Mutant(
        "P8", "a run that is over may begin again", MIGRATION,
        "AND (OLD.status = 'finished'\n                 OR OLD.status = 'queued'",
        "AND (OLD.status = 'queued'",
        f"{TRANSITIONS}::test_a_run_changes_only_along_its_arrows",
    ),
    Mutant(
        "P3", "a step's outcome may be changed", MIGRATION,
        "AND (OLD.state IN ('rejected', 'undone')\n                 OR OLD.state = 'settled'",
        "AND (OLD.state IN ('rejected', 'undone')\n                 OR false",
        f"{TRANSITIONS}::test_a_step_that_has_an_outcome_keeps_it",
    ),
    Mutant(
        "P8", "a refused transition ends the sweeper", "worker/sweeper.py",
        "                if not refused(error):\n                    raise\n",
        "                raise\n",
        f"{TRANSITIONS}::test_a_sweepers_refused_transition_pages_and_the_worker_lives_on",
    ),
)  # fmt: skip
