"""The guards of a single call: labels, approvals, and what the audit says of it."""

from tests.mutants.mutant import Mutant

LABELS, APPROVALS = "tests/integration/test_labels.py", "tests/integration/test_approvals.py"
AUDITED = "tests/integration/test_call_audit.py"
ACT = "tests/integration/test_act.py"
TOOL = "tests/unit/test_tool.py"
CAPACITY, BINDING = "tests/unit/test_capacity.py", "tests/unit/test_binding.py"
ACT, STANDING = "tests/integration/test_act.py", "tests/unit/test_standing.py"
_STANDS = f"{STANDING}::test_only_what_stands_where_it_was_bound_has_the_trust_of_its_reference"

OF_CALLS = (
    Mutant(
        "P7", "an intent asks for no approval", "worker/intent.py",
        '{_APPROVED if asked else ""}',
        "",
        f"{APPROVALS}::test_an_approval_of_anything_else_authorises_nothing",
    ),
    Mutant(
        "P7", "an approval fits any arguments", "worker/intent.py",
        "AND r.args_hash = m.approval ",
        "",
        f"{APPROVALS}::test_an_approval_of_anything_else_authorises_nothing",
    ),
    Mutant(
        "P7", "an approval never grows old", "worker/intent.py",
        ' AND r.use_by > now()"""',
        '"""',
        f"{APPROVALS}::test_an_approval_of_anything_else_authorises_nothing",
    ),
    Mutant(
        "P7", "nobody is asked", "worker/gateway.py",
        "    if order.asks and order.record is None:\n",
        "    order.asks = ()\n    if False:\n",
        f"{APPROVALS}::test_the_policy_says_which_calls_a_person_must_allow",
    ),
    Mutant(
        "P7", "a rejected call is left open", "models/verdict.py",
        "CASE WHEN $6 THEN 'released' END",
        "CASE WHEN $6 AND false THEN 'released' END",
        f"{APPROVALS}::test_one_that_was_rejected_or_not_answered_in_time_is_not_made",
    ),
    Mutant(
        "P7", "first(n) counts for all tenants", "models/verdict.py",
        "WHERE r.tenant = $1 AND r.kind = 'approval'",
        "WHERE $1::text <> '' AND r.kind = 'approval'",
        f"{APPROVALS}::test_what_the_first_calls_are_asked_the_later_ones_are_not",
    ),
    Mutant(
        "P9", "sinks are not looked at", "worker/gateway.py",
        "if judged and (record is None or not record.over):",
        "if False:",
        f"{LABELS}::test_one_that_a_text_from_outside_chose_goes_to_a_person_and_nothing_is_sent",
    ),
    Mutant(
        "P9", "a sink needs less than it says", "worker/labels/sinks.py",
        "if label.trust < needed:",
        "if label.trust < min(needed, Trust.UNTRUSTED):",
        f"{LABELS}::test_one_that_a_text_from_outside_chose_goes_to_a_person_and_nothing_is_sent",
    ),
    Mutant(
        "P9", "an argument that the tool says nothing of needs no trust", "worker/labels/sinks.py",
        "needed = Trust.TRUSTED if sink is None else sinks[sink]",
        "needed = Trust.UNTRUSTED if sink is None else sinks[sink]",
        f"{LABELS}::test_one_that_a_text_from_outside_chose_goes_to_a_person_and_nothing_is_sent",
    ),
    Mutant(
        "P9", "bits are not counted", "worker/labels/sinks.py",
        "if said and bits > max_bits:",
        "if False:",
        f"{LABELS}::test_what_text_from_outside_chooses_in_one_run_is_counted",
    ),
    Mutant(
        "P9", "one known member makes a whole list known", "worker/labels/binding.py",
        "return [each[0] for each in members], _narrowed(label, most, by, by)",
        "pass\n        if any(members):\n            return value, _narrowed(label, 1, by, by)",
        f"{BINDING}::test_a_binding_resolves_to_its_value_and_label",
    ),
    Mutant(
        "P9", "a list is one choice, however long", "worker/labels/binding.py",
        "len(members) * math.log2(several + 1)",
        "math.log2(several + 1)",
        f"{BINDING}::test_a_binding_resolves_to_its_value_and_label",
    ),
    Mutant(
        "P9", "a pattern means steps elsewhere as well", "worker/labels/provenance.py",
        'return pattern.count("/") == step.count("/") and covers(pattern, step)',
        'return step.endswith(pattern.rpartition("/")[2])',
        f"{BINDING}::test_a_binding_resolves_to_its_value_and_label",
    ),
    Mutant(
        "P7", "what was rejected is asked again", "worker/agents/act.py",
        "refused = self._refused.get(same(called))",
        "refused = None",
        "tests/integration/test_act.py::test_what_a_person_rejected_nobody_is_asked_again",
    ),
    Mutant(
        "P9", "bits of replayed steps are forgotten", "worker/runner.py",
        "for r in records if r.said_bits}",
        "for r in records if False}",
        f"{LABELS}::test_bits_of_replayed_steps_count_as_well",
    ),
    Mutant(
        "P9", "free text is endorsed by its type", "worker/labels/label.py",
        'if bits == float("inf"):',
        "if False:",
        f"{BINDING}::test_a_binding_resolves_to_its_value_and_label",
    ),
    Mutant(
        "P9", "a text among texts from outside is endorsed", "worker/labels/binding.py",
        "if of.trust is Trust.TRUSTED]",
        "]",
        f"{BINDING}::test_a_binding_resolves_to_its_value_and_label",
    ),
    Mutant(
        "P9", "what is made of several has the trust of the best", "worker/labels/label.py",
        "trust = min((each.trust",
        "trust = max((each.trust",
        f"{BINDING}::test_a_binding_resolves_to_its_value_and_label",
    ),
    Mutant(
        "-", "a refusal leaves no line", "worker/gateway.py",
        "            if said is not None:\n                digest, policy",
        "            if said is None:\n                digest, policy",
        f"{AUDITED}::test_each_refusal_leaves_one_line_that_names_guard_reason_and_policy",
    ),
    Mutant(
        "-", "a line is lost with the run that is cut off", "worker/gateway.py",
        "await asyncio.shield(self._journal.note(remark))",
        "await self._journal.note(remark)",
        f"{AUDITED}::test_a_refusal_is_on_record_though_its_run_is_cut_off_meanwhile",
    ),
    Mutant(
        "-", "a sensitive call leaves no line", "worker/gateway.py",
        "        if ruling.sensitive and not order.aside:",
        "        if False:",
        f"{AUDITED}::test_a_sensitive_call_is_on_record_before_it_leaves",
    ),
    Mutant(
        "-", "a seal is not compared", "models/call_audit.py",
        'or _digest(rows) != told["sha256"]',
        "or False",
        f"{AUDITED}::test_the_calls_are_sealed_into_the_chain_and_a_change_breaks_it",
    ),
    Mutant(
        "P9", "a model may use what it was not offered", "worker/agents/act.py",
        "        offer = self._offers.get(name)\n",
        "        offer = self._offers.get(name) or Offer(self._steps.tools[name])\n",
        f"{ACT}::test_a_tool_that_was_not_offered_ends_the_run",
    ),
    Mutant(
        "P9", "a model says what the pipeline has bound", "worker/agents/act.py",
        "        if meant:",
        "        if False:",
        f"{ACT}::test_what_fits_no_contract_is_explained_and_nothing_happens",
    ),
    Mutant(
        "P9", "what a model says is coerced", "worker/drafting.py",
        "model_validate_json(to_json(given), strict=True)",
        "model_validate_json(to_json(given), strict=False)",
        f"{ACT}::test_numbers_as_text_are_no_numbers",
    ),
    Mutant(
        "P9", "a proposed write of a tool without sinks needs no trust", "worker/labels/sinks.py",
        "if not (proposed and tool.writes):",
        "if True:",
        f"{ACT}::test_without_a_person_a_model_may_only_choose_among_the_known",
    ),
    Mutant(
        "P9", "a model's mistakes have no end", "worker/agents/act.py",
        "if self._mistakes > self._agent.mistakes:",
        "if False:",
        f"{ACT}::test_one_mistake_too_many_ends_the_run",
    ),
    Mutant(
        "P7", "a proposed write asks nobody", "worker/approval.py",
        "if unsaid and order.proposed and order.tool.writes:",
        "if False:",
        f"{ACT}::test_a_write_waits_for_a_person_and_is_then_made_to_whom_the_pipeline_bound",
    ),
    Mutant(
        "-", "a run's pace begins anew with each attempt", "worker/runner.py",
        "                held.pace = Pace(records)\n",
        "",
        f"{ACT}::test_one_run_is_kept_to_its_pace_across_attempts",
    ),
    Mutant(
        "-", "arguments have no largest size", "worker/gateway.py",
        "if len(passed) > ruling.most_bytes[0]:",
        "if False:",
        "tests/integration/test_policy_in_force.py::test_what_is_too_large_is_not_sent_and_not_kept",
    ),
    Mutant(
        "-", "results have no largest size", "worker/use.py",
        "if len(written) <= most_bytes else None",
        "if most_bytes else None",
        "tests/integration/test_policy_in_force.py::test_what_is_too_large_is_not_sent_and_not_kept",
    ),
    Mutant(
        "P7", "arguments that their JSON does not tell are let through", "worker/gateway.py",
        "            legible(tool, args)\n",
        "            pass\n",
        f"{APPROVALS}::test_what_a_person_could_not_read_is_not_asked_about_and_not_done",
    ),
    Mutant(
        "P9", "all choices of a model are one", "worker/agents/agent.py",
        'each.of(said[name], f"{step}:/{name}")',
        'each.of(said[name], "a model")',
        f"{ACT}::test_each_choice_of_a_model_is_counted",
    ),
    Mutant(
        "P9", "a text that chooses in many sets chooses once", "worker/labels/binding.py",
        "{' and '.join(sorted(label.sources))} among {among}\"",
        "{' and '.join(sorted(label.sources))}\"",
        f"{BINDING}::test_one_text_that_chooses_in_two_sets_chooses_twice",
    ),
    Mutant(
        "P9", "True is one of 1 and 2", "worker/labels/binding.py",
        "if each == value and to_json(each, fallback=repr) == written]",
        "if each == value]",
        f"{BINDING}::test_a_binding_resolves_to_its_value_and_label",
    ),
    Mutant(
        "P9", "a name in a map reaches below it", "worker/labels/provenance.py",
        "(escaped(name), each)",
        "(name, each)",
        f"{BINDING}::test_whoever_names_the_entries_of_a_map_makes_none_of_them_trusted",
    ),
    Mutant(
        "P9", "what has left does not count until a replay comes by", "worker/labels/provenance.py",
        " + sum(self._ahead.values())",
        "",
        f"{LABELS}::test_what_has_left_counts_though_a_replay_comes_by_it_later",
    ),
    Mutant(
        "P9", "a tuple has the type of its first", "worker/labels/capacity.py",
        "if get_origin(kind) is not tuple or kinds[-1] is Ellipsis:",
        "if True:",
        f"{CAPACITY}::test_a_field_carries_as_many_bits_as_it_has_values",
    ),
    Mutant(
        "P9", "a validator cannot widen a type", "worker/labels/capacity.py",
        " or any(isinstance(each, _ANYTHING) for each in bounds):\n        return INFINITE",
        ":\n        return INFINITE",
        f"{CAPACITY}::test_a_field_carries_as_many_bits_as_it_has_values",
    ),
    Mutant(
        "P9", "how long a list is says nothing", "worker/labels/sinks.py",
        "    return joined([label, *more], takes.__name__) if more else label",
        "    return label",
        _STANDS,
    ),
    Mutant(
        "P9", "a name in a map says nothing", "worker/labels/sinks.py",
        "    return joined([label, *names], label.by) if names else label",
        "    return label",
        _STANDS,
    ),
    Mutant(
        "P9", "what a contract puts elsewhere keeps its trust", "worker/labels/sinks.py",
        "    moved = {by for by in given if not stands(tool.takes, passed, by, given[by].value)}",
        "    moved = set[str]()",
        _STANDS,
    ),
    Mutant(
        "P9", "what a contract makes by itself is ours", "worker/labels/sinks.py",
        "    changed += derived(args)\n",
        "",
        _STANDS,
    ),
    Mutant(
        "P9", "the pointer of most letters is the closest", "tools/trust.py",
        "key=_nearness",
        "key=len",
        "tests/unit/test_trust.py::test_the_closest_pointer_is_meant_in_whatever_order_they_stand",
    ),
    Mutant(
        "P9", "an agent's work may take any name", "worker/flow.py",
        "        self._steps.begin(name)  # for references may mean it\n",
        "",
        f"{ACT}::test_the_name_of_an_agents_work_is_a_checkpoint_like_any",
    ),
    Mutant(
        "P9", "a tool is offered twice, and the last binding holds", "worker/agents/act.py",
        "if len(self._offers) < len(offers):",
        "if False:",
        f"{ACT}::test_a_tool_is_offered_once",
    ),
    Mutant(
        "P8", "a decision's answer is recorded unread", "worker/decision.py",
        "            self.answer.model_validate_json(answer)\n",
        "",
        f"{LABELS}::test_an_answer_outside_its_type_ends_the_run_and_is_not_recorded",
    ),
    Mutant(
        "P8", "a NUL in a text refuses its batch", "models/columns.py",
        r'[:most].replace("\0", "\N{REPLACEMENT CHARACTER}")',
        "[:most]",
        f"{ACT}::test_what_no_text_column_takes_is_told_without_it",
    ),
    Mutant(
        "-", "a NUL in one proposal hides all reviews", "producer/review_selection.py",
        r"SELECT replace(r.proposal::text, '\u0000', '\ufffd')::json AS proposal",
        "SELECT r.proposal",
        f"{ACT}::test_a_text_that_no_text_column_takes_hides_no_review_from_the_people",
    ),
    Mutant(
        "P7", "an argument may be a set", "tools/misfit.py",
        '            return "a set has no order: take a list"\n',
        "            pass\n",
        f"{TOOL}::test_arguments_that_would_not_be_the_same_in_a_resumed_run_are_refused_at_import",
    ),
    Mutant(
        "P7", "a default may be another one each time", "tools/misfit.py",
        "            if once != twice:\n",
        "            if False:\n",
        f"{TOOL}::test_arguments_that_would_not_be_the_same_in_a_resumed_run_are_refused_at_import",
    ),
)  # fmt: skip
