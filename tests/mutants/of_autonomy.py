"""The guards of autonomy: what a run is held to, and what a pipeline must show for more."""

from tests.mutants.mutant import Mutant

AUTONOMY = "tests/integration/test_autonomy.py"
PROMOTION = "tests/integration/test_promotion.py"
LEVELS = "tests/unit/test_levels.py"
HELD = (
    f"{AUTONOMY}::test_a_run_has_the_lowest_of_the_policys_level_the_one_that_was_set_and_its_own"
)
BARS = (
    f"{PROMOTION}::test_below_each_bar_it_is_refused_by_what_is_missing_and_at_the_bar_it_is_given"
)
SINCE = (
    f"{PROMOTION}"
    "::test_only_what_was_decided_since_the_level_changed_and_by_this_tenants_people_counts"
)
TURN = f"{PROMOTION}::test_one_level_at_a_time_and_never_beyond_the_policy_or_what_everybody_has"
FREE = f"{PROMOTION}::test_lowering_is_free_raising_is_not_and_every_change_is_on_record"
MIDWAY = (
    f"{LEVELS}"
    "::test_a_level_lowered_midway_holds_at_once_and_a_raised_one_only_from_the_next_attempt"
)

OF_AUTONOMY = (
    Mutant(
        "P1", "a dry run is the same payload", "models/request_key.py",
        '*(["dry run"] if dry_run else [])',
        "*[]",
        f"{AUTONOMY}::test_a_dry_run_and_the_other_are_two_payloads_of_one_key",
    ),
    Mutant(
        "-", "what is neither true nor false is no dry run", "models/request.py",
        "if type(self.dry_run) is not bool:",
        "if False:",
        f"{AUTONOMY}::test_what_is_neither_true_nor_false_is_no_dry_run_and_no_other_run_either",
    ),
    Mutant(
        "-", "a dry run is forgotten at the door", "models/admission.py",
        "[Autonomy.OBSERVE if each.request.dry_run else None for each in asked]",
        "[None for each in asked]",
        f"{AUTONOMY}::test_many_at_once_are_each_as_they_were_asked_for",
    ),
    Mutant(
        "-", "a dry run is forgotten on its way through the broker", "worker/submission.py",
        'dry_run=fields.get("dry_run", False),',
        "",
        f"{AUTONOMY}::test_a_running_fleet_hears_of_a_lowered_level_and_runs_in_hand_do_as_well",
    ),
    Mutant(
        "-", "a dry run is claimed like any other", "worker/claim.py",
        'Autonomy(row["autonomy"] or Autonomy.ACT)',
        "Autonomy.ACT",
        HELD,
    ),
    Mutant(
        "-", "a dry run remembers", "worker/keeping.py",
        " and not each.withheld",
        "",
        f"{AUTONOMY}::test_a_dry_run_remembers_nothing_and_its_step_says_so",
    ),
    Mutant(
        "P3", "what was withheld is another step to a run that may write now", "worker/memory.py",
        'b"remember\\0" + args',
        "held.autonomy.encode() + args",
        f"{AUTONOMY}::test_a_withheld_memory_is_replayed_by_a_run_that_may_write_now",
    ),
    Mutant(
        "-", "the policy's level holds nobody down", "models/autonomy.py",
        "return lowest(Autonomy(said.level), stands)",
        "return stands",
        HELD,
    ),
    Mutant(
        "-", "a tenant's own level passes over everybody's", "models/autonomy.py",
        "return lowest(*([levels[each] for each in keys if each in levels] or [initial]))",
        "return next((levels[each] for each in keys if each in levels), initial)",
        HELD,
    ),
    Mutant(
        "-", "a proposal that was approved is withheld again", "models/autonomy.py",
        "    if pipeline == DISPOSES:\n        return Autonomy.ACT\n",
        "",
        f"{LEVELS}::test_what_a_person_has_allowed_is_carried_out_whatever_the_level",
    ),
    Mutant(
        "-", "before the first look everything may be written", "worker/levels.py",
        "return Autonomy.OBSERVE",
        "return Autonomy.ACT",
        f"{LEVELS}::test_before_the_first_look_nothing_is_written",
    ),
    Mutant(
        "-", "a level raised midway holds at once", "worker/levels.py",
        "held.autonomy = lowest(held.autonomy, self.of(held.tenant, held.pipeline))",
        "held.autonomy = self.of(held.tenant, held.pipeline)",
        MIDWAY,
    ),
    Mutant(
        "-", "runs in hand do not hear of a lowered level", "worker/levels.py",
        "        for held in self._held:\n            self._lower(held)\n",
        "",
        MIDWAY,
    ),
    Mutant(
        "-", "the policy that changed is not looked at", "worker/levels.py",
        "if levels == self._levels and self._revision == self._rulebook.revision:",
        "if levels == self._levels:",
        f"{LEVELS}::test_a_changed_policy_holds_for_runs_in_hand",
    ),
    Mutant(
        "-", "a running fleet never looks at levels again", "worker/gatekeeper.py",
        "                self.levels.read(await connection.fetch(autonomy.LOOK))\n",
        "",
        f"{AUTONOMY}::test_a_running_fleet_hears_of_a_lowered_level_and_runs_in_hand_do_as_well",
    ),
    Mutant(
        "-", "what a run was held to is its last attempt's", "models/autonomy.py",
        "    CASE WHEN 'observe' IN (run.level, m.level) THEN 'observe'\n",
        "    CASE\n",
        f"{AUTONOMY}::test_a_run_that_comes_back_has_todays_level_and_what_it_had_is_the_lowest",
    ),
    Mutant(
        "-", "a tenant sees who set which level", "producer/autonomy.py",
        "    if caller.operator:\n",
        "    if True:\n",
        f"{AUTONOMY}::test_a_tenant_sees_what_holds_for_itself_and_an_operator_who_set_it",
    ),
    Mutant(
        "-", "few decisions are enough", "models/agreement.py",
        "if whole.decided < bar.fewest:",
        "if False:",
        BARS,
    ),
    Mutant(
        "-", "whatever people edited is agreement", "models/agreement.py",
        "if whole.decided and self.precision < bar.precision:",
        "if False:",
        BARS,
    ),
    Mutant(
        "-", "what was taken back is held against nobody", "models/agreement.py",
        "if self.reversals > bar.reversals:",
        "if False:",
        BARS,
    ),
    Mutant(
        "-", "answers to a pipeline's own questions count", "models/agreement.py",
        "        if unsure:\n",
        "        if False:\n",
        f"{PROMOTION}::test_approvals_count_like_proposals_and_answers_to_questions_do_not",
    ),
    Mutant(
        "-", "what was decided before the level changed counts", "models/promotion.py",
        "    since = max(changes, default=None)\n",
        "    since = max(changes[:0], default=None)\n",
        SINCE,
    ),
    Mutant(
        "-", "one tenant's verdicts promote another's pipeline", "models/promotion.py",
        "whose = None if tenant == EVERYBODY else tenant",
        "whose = None",
        SINCE,
    ),
    Mutant(
        "-", "a level is skipped", "models/promotion.py",
        "if to.rank > stands.rank + 1:",
        "if False:",
        TURN,
    ),
    Mutant(
        "-", "a promotion beyond the policy is given and means nothing", "models/promotion.py",
        "if Autonomy(said.level).rank < to.rank:",
        "if False:",
        TURN,
    ),
    Mutant(
        "-", "raising needs no record", "models/promotion.py",
        "if raised and not force:",
        "if False:",
        FREE,
    ),
    Mutant(
        "-", "a level changes without a line", "models/autonomy.py",
        "    await audit.append(connection, who=who, act=audit.Act.AUTONOMY, about=told)\n",
        "",
        FREE,
    ),
    Mutant(
        "-", "levels are judged and given at the same time", "models/autonomy.py",
        "        await connection.execute(_IN_TURN)\n",
        "",
        f"{PROMOTION}::test_of_two_that_promote_at_once_one_does",
    ),
    Mutant(
        "-", "verdicts go with the payload", "models/tombstone.py",
        "    {KEEP},\n",
        "    kept AS (SELECT),\n",
        f"{PROMOTION}::test_verdicts_on_real_runs_count_by_tool_and_outlive_their_payload",
    ),
    Mutant(
        "-", "a fork counts its source's writes once more", "models/agreement.py",
        " AND e.copied_from IS NULL",
        "",
        f"{PROMOTION}::test_what_a_fork_has_copied_is_the_write_of_its_source_alone",
    ),
    Mutant(
        "-", "taking back counts as a write", "models/agreement.py",
        "    AND e.step NOT LIKE 'undo/%'\n",
        "",
        f"{PROMOTION}::test_what_was_taken_back_is_a_reversal_and_taking_it_back_is_no_write",
    ),
)  # fmt: skip
