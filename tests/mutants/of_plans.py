"""The guards around plans and assessments, as in `catalogue`."""

from tests.mutants.mutant import Mutant

PLAN, ASSESS = "tests/integration/test_plan.py", "tests/integration/test_assess.py"
PROOF = "tests/unit/test_proof.py"
BAD = f"{PLAN}::test_a_plan_whose_third_call_is_bad_makes_none_of_the_first_two"
NO_PLAN = f"{PLAN}::test_what_is_no_plan_is_explained_and_nothing_happens"
ASKED_FIRST = f"{PLAN}::test_all_that_a_person_must_allow_is_asked_before_the_first_call"
DENIED = f"{PLAN}::test_a_persons_no_to_one_call_is_a_no_to_the_plan_and_is_not_asked_again"
WITHHELD = (
    f"{PLAN}::test_what_of_a_plan_is_withheld_is_asked_once_as_a_proposal_and_never_of_a_dry_run"
)
AS_IT_WAS = f"{PLAN}::test_an_examination_leaves_the_run_as_it_was"
ON_RECORD = f"{PLAN}::test_what_was_found_right_is_carried_out_and_what_was_found_wrong_is_not"
UNPROVEN = f"{ASSESS}::test_what_names_no_step_that_proves_it_is_told_back_and_audited"
CLOSED = f"{ASSESS}::test_critical_gaps_are_asked_at_once_and_come_back_as_a_persons_word"
WORDS = f"{PROOF}::test_a_tools_result_and_a_persons_answer_prove_and_a_models_word_does_not"

OF_PLANS = (
    Mutant(
        "P3", "what a plan has put aside is taken for a person's no", "worker/agents/plan.py",
        "(e.tries or e.kind == StepKind.PROPOSE)",
        "e.tries",
        "tests/integration/test_withholding.py"
        "::test_what_a_plan_has_rehearsed_is_no_persons_no_to_a_replay",
    ),
    Mutant(
        "P9", "a plan is made though something is wrong with it", "worker/agents/plan.py",
        '        if complaints:\n            self._mistaken({"plan"',
        '        if False:\n            self._mistaken({"plan"',
        BAD,
    ),
    Mutant(
        "P9", "a plan is not examined", "worker/agents/plan.py",
        "found = found or await self._examined(drafts)",
        "found = found or []",
        BAD,
    ),
    Mutant(
        "P9", "what a refused plan would have used counts", "worker/examination.py",
        "trial = held.trial()",
        "trial = held",
        AS_IT_WAS,
    ),
    Mutant(
        "-", "a person is asked what of a plan may be made, and none of it is",
        "worker/examination.py",
        "if order.questionable:",
        "if True:",
        WITHHELD,
    ),
    Mutant(
        "P9", "the bits of a refused plan count", "worker/labels/provenance.py",
        "made._said = dict(self._said)",
        "made._said = self._said",
        AS_IT_WAS,
    ),
    Mutant(
        "P5", "the calls of a plan are not added up", "worker/examination.py",
        "    trial.reserve(order.worst.usd, order.worst.tokens)\n",
        "",
        f"{PLAN}::test_calls_that_each_fit_and_together_do_not_are_not_made",
    ),
    Mutant(
        "P5", "what is kept before a write of a plan is not added up", "worker/examination.py",
        "    _with_snapshot(gateway, trial, order, declared)\n",
        "",
        f"{PLAN}::test_what_is_kept_before_a_write_is_a_call_of_its_plan",
    ),
    Mutant(
        "P9", "a plan may choose what was not found", "worker/agents/plan.py",
        "wrong = wrong or await self._estranged(draft.step, offer, call, at)",
        "wrong = wrong if draft else None",
        f"{PLAN}::test_what_was_not_found_before_its_plan_is_no_choice_where_only_that_will_do",
    ),
    Mutant(
        "-", "a plan may go in circles", "worker/examination.py",
        "    if not tool.poll:\n",
        "    if False:\n",
        f"{PLAN}::test_a_plan_that_goes_in_circles_is_seen_before_it_is_made",
    ),
    Mutant(
        "P3", "what was found wrong with a plan is not on record", "worker/agents/plan.py",
        'await self._steps.once(f"{step}/check", question, check)',
        '(await self._steps.once(f"{step}/check", question, check), await check())[1][0]',
        ON_RECORD,
    ),
    Mutant(
        "P7", "a plan's questions are asked as it comes to them", "worker/agents/plan.py",
        "        await self._ask_first(drafts)\n",
        "",
        ASKED_FIRST,
    ),
    Mutant(
        "P9", "a plan that is denied meanwhile is begun", "worker/agents/plan.py",
        "                raise found\n",
        "                continue\n",
        f"{PLAN}::test_a_plan_found_right_that_the_policy_denies_before_its_first_call_is_not_made",
    ),
    Mutant(
        "P7", "the rest of a plan is made though a person denied a part", "worker/agents/plan.py",
        "for n in denied or range(len(drafts)):",
        "for n in range(len(drafts)):",
        DENIED,
    ),
    Mutant(
        "-", "a plan goes on behind a failed call", "worker/agents/plan.py",
        "                if not denied:\n                    break\n",
        "",
        f"{PLAN}::test_a_failed_call_ends_its_plan_and_the_model_sees_what_was_done",
    ),
    Mutant(
        "-", "a model plans without end", "worker/agents/plan.py",
        "        self._left -= 1\n",
        "",
        f"{PLAN}::test_who_plans_on_after_the_last_round_is_ended",
    ),
    Mutant(
        "-", "a plan needs no reason", "worker/agents/planned.py",
        "    if len(because.strip()) < _REASON:\n",
        "    if False:\n",
        NO_PLAN,
    ),
    Mutant(
        "-", "a plan has no end", "worker/agents/planned.py",
        "Field(default=[], max_length=MOST_CALLS)",
        "Field(default=[])",
        NO_PLAN,
    ),
    Mutant(
        "-", "a fact is established by what was never done", "worker/proof.py",
        "if each.step not in proofs}",
        "if False}",
        UNPROVEN,
    ),
    Mutant(
        "-", "a step that failed or was taken back proves a fact", "worker/proof.py",
        "    if record.state is not EntryState.SETTLED:\n",
        "    if False:\n",
        f"{PROOF}::test_what_failed_was_taken_back_or_may_not_have_happened_proves_nothing",
    ),
    Mutant(
        "-", "what a model said proves a fact", "worker/proof.py",
        " and not record.tool.startswith(MODEL)",
        "",
        WORDS,
    ),
    Mutant(
        "-", "what a decision said proves a fact", "worker/proof.py",
        "return record.effect is not None and",
        "return",
        WORDS,
    ),
    Mutant(
        "-", "a fact without a step leaves no line", "worker/proof.py",
        "        await steps.refused(step, who, said)\n",
        "        assert said\n",
        UNPROVEN,
    ),
    Mutant(
        "-", "a model may insist on what nothing proves", "worker/assessing.py",
        "            if not told:\n",
        "            if not told or round_ > 2:\n",
        f"{ASSESS}::test_who_insists_on_what_nothing_proves_ends_the_run",
    ),
    Mutant(
        "-", "a language model is not held against the ledger", "worker/assessing.py",
        "await unproven(found, self.known, self._steps, step, tool) or found",
        "found if step else await unproven(found, self.known, self._steps, step, tool)",
        f"{ASSESS}::test_a_language_model_that_lies_on_is_asked_no_more_than_it_says",
    ),
    Mutant(
        "-", "a run goes on with a gap that nobody closed", "worker/assessing.py",
        "                if self._or_else is None:\n                    raise answer\n",
        "",
        f"{ASSESS}::test_a_gap_that_nobody_closes_ends_the_run_or_is_assumed",
    ),
    Mutant(
        "P9", "a person's answer counts as a model's", "worker/inquiry.py",
        "Origin(answer, type(about), person=True)",
        "Origin(answer, type(about))",
        CLOSED,
    ),
    Mutant(
        "P3", "what a model was shown is part of what a replay repeats", "worker/asking.py",
        "talk.arguments(decision.name, given, round_)",
        "talk.arguments(decision.name, self._shown, round_)",
        f"{ASSESS}::test_a_language_model_is_shown_the_ledger_as_foreign_text_and_told_what_lacks_a_step",
    ),
    Mutant(
        "P9", "that nobody knows proves a fact", "worker/proof.py",
        'return _says_something(record.result or b"null")',
        "return True",
        f"{PROOF}::test_a_person_who_does_not_know_either_proves_nothing",
    ),
    Mutant(
        "P9", "an assessor sees what no contract declares", "worker/proof.py",
        "    if tool is None:\n",
        "    if step:\n",
        f"{PROOF}::test_what_a_tools_contract_does_not_declare_is_not_shown",
    ),
    Mutant(
        "-", "an assessor sees maps of any size", "worker/proof.py",
        "        return sieve.said(from_json(written))\n",
        "        return from_json(written)\n",
        f"{PROOF}::test_of_a_map_with_many_or_long_names_as_much_is_shown_as_of_a_list",
    ),
    Mutant(
        "P9", "a gap writes lines of its own", "worker/assessing.py",
        "said = one_line(gap.question)",
        "said = gap.question",
        f"{ASSESS}::test_a_gap_is_put_on_one_line_that_nobody_takes_for_ours",
    ),
    Mutant(
        "P9", "a question writes lines of its own in the terminal", "producer/tables.py",
        "{_on_one_line(row['question'])}",
        "{legible(row['question'])}",
        f"{ASSESS}::test_no_question_to_a_person_writes_a_line_of_its_own_in_the_terminal",
    ),
    Mutant(
        "P9", "a long text hides what a person is to allow", "producer/tables.py",
        "{_every_part(row['proposal'])}",
        "{_short(row['proposal'])}",
        f"{ASSESS}::test_a_long_text_hides_nothing_of_what_a_person_is_to_allow",
    ),
    Mutant(
        "P9", "a tag is read by its code points", "tools/cloud/form.py",
        "any(each in _seen(tag) for each in PROTECTED)",
        "any(each in tag.casefold() for each in PROTECTED)",
        "tests/integration/test_cost_alert.py"
        "::test_no_certainty_of_a_model_shuts_down_what_a_tag_protects",
    ),
    Mutant(
        "P9", "a model is asked of what is nobody's", "worker/pipelines/ticket_triage.py",
        "if ticket.assistant and verdict.in_scope and not sure:",
        "if ticket.assistant and not sure:",
        "tests/integration/test_triage_assistant.py"
        "::test_of_what_is_nobodys_no_model_is_asked_however_it_would_agree",
    ),
    Mutant(
        "-", "letters within a tag say what an instance is for",
        "worker/pipelines/cost_alert_analysis.py",
        'r"(?<![a-z])(?:dev|development|tests?|testing|sandbox|staging|demo|tmp)(?![a-z])"',
        'r"(?:dev|development|tests?|testing|sandbox|staging|demo|tmp)"',
        "tests/integration/test_cost_alert.py"
        "::test_words_alone_shut_down_nothing_whose_tag_only_holds_such_letters",
    ),
    Mutant(
        "P9", "a draft's links are looked for as they are written",
        "worker/pipelines/ticket_triage_assistant.py",
        'unicodedata.normalize("NFKC", reply)',
        "reply",
        "tests/integration/test_triage_assistant.py::test_what_a_draft_must_not_hold_is_found",
    ),
    Mutant(
        "-", "a gap counts as a call", "worker/parking.py",
        "frozenset({ReviewKind.UNCERTAIN, ReviewKind.GAP})",
        "frozenset({ReviewKind.UNCERTAIN})",
        f"{ASSESS}::test_a_gap_counts_as_asked_for_the_steps_of_its_run",
    ),
)  # fmt: skip
