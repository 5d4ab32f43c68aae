"""The guards of proposals, of edited calls, and of what a run may not do by itself."""

from tests.mutants.mutant import Mutant

PROPOSALS = "tests/integration/test_proposals.py"
APPROVALS = "tests/integration/test_approvals.py"
WITHHOLDING = "tests/integration/test_withholding.py"
MEETING = "tests/integration/test_where_features_meet.py"
_INTENT = f"{PROPOSALS}::test_the_intent_itself_looks_at_the_verdict"

OF_PROPOSALS = (
    Mutant(
        "P7", "a proposal of another tenant is carried out", "worker/intent.py",
        "WHERE r.id = m.proposal AND r.tenant = fence.tenant",
        "WHERE r.id = m.proposal",
        _INTENT,
    ),
    Mutant(
        "P7", "another tenant's proposal is found", "worker/mandate.py",
        "WHERE r.id = $1 AND r.tenant = $2 AND",
        "WHERE r.id = $1 AND $2::text <> '' AND",
        f"{PROPOSALS}::test_nobody_carries_out_what_is_not_approved_or_another_tenants",
    ),
    Mutant(
        "P7", "a review of another kind is a proposal", "worker/intent.py",
        "WHERE id = ANY ($21::uuid[]) AND kind = 'proposal' ORDER",
        "WHERE id = ANY ($21::uuid[]) ORDER",
        _INTENT,
    ),
    Mutant(
        "P7", "a proposal is carried out by whoever comes", "worker/intent.py",
        "                  AND coalesce(r.used_by, m.run_id) = m.run_id))",
        "                  ))",
        f"{PROPOSALS}::test_ten_requests_for_one_approval_make_one_call",
    ),
    Mutant(
        "P7", "two runs look at one proposal at once", "worker/intent.py",
        "AND kind = 'proposal' ORDER BY id FOR UPDATE),",
        "AND kind = 'proposal' ORDER BY id),",
        f"{PROPOSALS}::test_ten_requests_for_one_approval_make_one_call",
    ),
    Mutant(
        "P7", "what nobody has approved is carried out", "worker/mandate.py",
        'if row["verdict"] not in _WANTED:',
        "if False:",
        f"{PROPOSALS}::test_nobody_carries_out_what_is_not_approved_or_another_tenants",
    ),
    Mutant(
        "P7", "the verdict does not count for a proposal's intent", "worker/intent.py",
        "r.verdict IN ('approved', 'edited')\n                  AND r.args_hash = m.approval",
        "r.verdict IS NOT NULL\n                  AND r.args_hash = m.approval",
        _INTENT,
    ),
    Mutant(
        "P7", "a destructive tool needs no person", "worker/allowance.py",
        "ruling.permit(by_person=order.proposes or order.warrant is not None)",
        "ruling.permit(by_person=True)",
        f"{PROPOSALS}::test_what_is_destructive_is_only_ever_proposed_and_a_read_never",
    ),
    Mutant(
        "P7", "the pipeline that carries out is judged, not the one that proposed",
        "worker/gateway.py",
        "self._rulings.of(held.tenant, mandate.pipeline, tool)",
        "self._rulings.of(held.tenant, held.pipeline, tool)",
        f"{PROPOSALS}::test_the_proposing_pipelines_policy_counts",
    ),
    Mutant(
        "P6", "the gate of the pipeline that proposed does not count", "worker/intent.py",
        """{", 'pipeline:' || m.behalf" if asked else ""}""",
        "",
        f"{PROPOSALS}::test_it_waits_for_the_gate_of_the_pipeline_that_proposed_it",
    ),
    Mutant(
        "-", "somebody is asked about what a dry run would do", "worker/proposing.py",
        "CASE WHEN fence.dry THEN 'withdrawn' END",
        "NULL",
        "tests/integration/test_withholding.py"
        "::test_what_a_dry_run_would_do_is_listed_with_it_and_nobody_is_asked",
    ),
    Mutant(
        "-", "a dry run carries out a proposal", "worker/pipelines/execute_proposal.py",
        "if flow.steps.held.autonomy is Autonomy.OBSERVE:",
        "if False:",
        f"{PROPOSALS}::test_a_dry_run_carries_out_nothing_and_uses_no_approval_up",
    ),
    Mutant(
        "P7", "a client may take the key of a proposal", "models/request.py",
        "if self.key.startswith(PROPOSAL_KEY):",
        "if False:",
        f"{PROPOSALS}::test_the_keys_of_proposals_are_no_clients",
    ),
    Mutant(
        "P3", "a parked run waits for what it has proposed", "models/verdict.py",
        "\n                          AND kind <> 'proposal')",
        ")",
        f"{PROPOSALS}::test_a_replay_proposes_nothing_anew",
    ),
    Mutant(
        "-", "what is proposed is purged with its run", "models/tombstone.py",
        "AND (v.verdict IS NULL OR v.use_by > now()))",
        "AND false)",
        f"{PROPOSALS}::test_what_is_open_or_under_way_is_not_purged",
    ),
    Mutant(
        "-", "what a cancelled run has proposed stays open", "worker/departure.py",
        "            await withdraw(connection, [each for each in cancelled if each in gone])\n",
        "",
        f"{PROPOSALS}::test_what_a_cancelled_run_has_proposed_is_withdrawn",
    ),
    Mutant(
        "P7", "an edited call is made as the pipeline had it", "worker/gateway.py",
        "        restate(order)\n",
        "",
        f"{APPROVALS}::test_an_edited_call_is_made_once_with_exactly_what_the_person_wrote",
    ),
    Mutant(
        "P7", "an edit is bound to no bytes", "worker/approval.py",
        "    if order.edited:\n        return edited_hash(order.tool.name, order.passed)\n",
        "",
        f"{APPROVALS}::test_an_edited_call_is_made_once_with_exactly_what_the_person_wrote",
    ),
    Mutant(
        "P7", "where the policy does not ask, an edit needs no approval", "worker/approval.py",
        '    if order.edited:\n        return ("a person has edited it",)\n',
        "",
        f"{APPROVALS}::test_an_edit_needs_its_approval_though_the_policy_no_longer_asks",
    ),
    Mutant(
        "P7", "edited arguments fit any schema", "worker/approval.py",
        "        schema: dict[str, Any] = tool.takes.model_json_schema(by_alias=False)\n",
        "        schema: dict[str, Any] = {}\n",
        f"{APPROVALS}::test_what_fits_no_contract_is_no_edit",
    ),
    Mutant(
        "P9", "all that a person has seen counts as that person's", "worker/labels/restated.py",
        "if _at(before, leaf) != _at(after, leaf):",
        "if True:",
        f"{APPROVALS}::test_an_edited_call_is_made_once_with_exactly_what_the_person_wrote",
    ),
    Mutant(
        "-", "who only observes writes", "worker/proposal.py",
        "    if held.autonomy is Autonomy.OBSERVE:\n",
        "    if False:\n",
        f"{WITHHOLDING}::test_who_only_observes_does_not_even_what_can_be_taken_back",
    ),
    Mutant(
        "-", "what cannot be taken back is done all the same", "worker/proposal.py",
        "    if undo is None or",
        "    if undo is not None and",
        f"{WITHHOLDING}::test_what_can_be_taken_back_is_done_by_who_may_do_that",
    ),
    Mutant(
        "-", "taking back is withheld", "worker/proposal.py",
        "if not tool.writes or order.step.startswith(UNDO) or begun or",
        "if not tool.writes or begun or",
        f"{WITHHOLDING}::test_taking_back_is_not_withheld",
    ),
    Mutant(
        "-", "the snapshot of a write that may be made is withheld", "worker/proposal.py",
        " or order.step in held.precautions:",
        ":",
        f"{WITHHOLDING}::test_a_snapshot_is_taken_with_its_write_or_not_at_all",
    ),
    Mutant(
        "-", "a snapshot is taken before a write that is withheld", "worker/gateway.py",
        "if before is not None and not order.aside:",
        "if before is not None:",
        f"{WITHHOLDING}::test_a_snapshot_is_taken_with_its_write_or_not_at_all",
    ),
    Mutant(
        "P7", "runs of one batch share an approved proposal", "worker/warrant.py",
        "turn = met[warrant.proposal]",
        "turn = 0",
        f"{MEETING}::test_of_two_runs_in_one_batch_one_makes_the_approved_call",
    ),
    Mutant(
        "P4", "the snapshot of a proposal is under nobody's gate", "worker/gateway.py",
        "        order.warrant = under\n",
        "",
        f"{MEETING}::test_the_snapshot_of_a_proposal_waits_for_the_gate_of_its_pipeline_too",
    ),
    Mutant(
        "P4", "the snapshot of a proposal is under the policy of who carries it out",
        "worker/gateway.py",
        "(under and under.behalf) or held.pipeline",
        "held.pipeline",
        f"{MEETING}::test_the_snapshot_of_a_proposal_is_under_the_policy_of_its_pipeline",
    ),
    Mutant(
        "P4", "behind a closed gate a write is rehearsed", "worker/proposal.py",
        "            await self._gatekeeper.admit(held, order.tool, looking=True)\n",
        "            pass\n",
        f"{MEETING}::test_nothing_is_rehearsed_while_the_gate_is_closed",
    ),
    Mutant(
        "P7", "who says the same as the pipeline is asked again", "models/verdict.py",
        'written += b"\\n"',
        'written += b""',
        f"{MEETING}::test_an_edit_that_changes_nothing_is_a_yes",
    ),
    Mutant(
        "P7", "an edit is kept as it can be", "models/verdict.py",
        "        canonical(value)\n",
        "",
        f"{MEETING}::test_an_edit_that_json_cannot_hold_is_refused",
    ),
    Mutant(
        "P7", "a number of a verdict is rounded", "producer/reviews.py",
        "read_json(body)\n",
        "orjson.loads(body)\n",
        f"{MEETING}::test_a_number_of_a_verdict_is_what_was_sent_or_refused",
    ),
    Mutant(
        "P7", "a spreadsheet edits a call that was approved", "producer/review_sheet.py",
        "if kind in _CALLS and self.verdict is Verdict.APPROVED:",
        "if False:",
        f"{MEETING}::test_a_sheet_that_says_approve_edits_no_call",
    ),
    Mutant(
        "P7", "a thousand in a sheet is one", "producer/review_sheet.py",
        "if _THOUSANDS.fullmatch(text.strip()):",
        "if False:",
        f"{MEETING}::test_a_cell_that_may_be_one_or_a_thousand_is_refused",
    ),
    Mutant(
        "P7", "what a snapshot was taken for is edited", "worker/approval.py",
        '{"const": from_json(asked)} if kept else editable(tool)',
        "editable(tool)",
        f"{MEETING}::test_what_a_snapshot_was_taken_for_is_not_edited_any_more",
    ),
    Mutant(
        "P7", "a question asked anew takes the old one's verdicts", "worker/parking.py",
        "SET id = EXCLUDED.id, verdict = NULL",
        "SET verdict = NULL",
        f"{MEETING}::test_a_late_verdict_on_a_question_that_was_asked_anew_is_none",
    ),
    Mutant(
        "P4", "beside a roll-back everything may be written", "worker/proposal.py",
        "if not tool.writes or order.step.startswith(UNDO) or begun or",
        "if not tool.writes or held.undoing or begun or",
        f"{MEETING}::test_beside_a_roll_back_a_lowered_run_writes_nothing_else",
    ),
    Mutant(
        "P4", "what nobody may take back is reversible", "worker/proposal.py",
        " or rulings.of(held.tenant, held.pipeline, undo).denied is not None:",
        ":",
        f"{MEETING}::test_what_the_policy_lets_nobody_take_back_is_not_reversible",
    ),
    Mutant(
        "-", "a snapshot in doubt is left where its write is withheld", "worker/snapshot.py",
        "self._record.state is not EntryState.RELEASED:",
        "self._record.over:",
        f"{MEETING}::test_a_snapshot_in_doubt_is_settled_though_its_write_is_withheld_by_now",
    ),
    Mutant(
        "-", "a plan counts no snapshots", "worker/examination.py",
        "number += 1 if undo is None or undo.snapshot is None else 2",
        "number += 1",
        "tests/integration/test_plan.py"
        "::test_what_was_asked_about_has_the_number_it_has_when_it_is_made",
    ),
    Mutant(
        "P7", "the sign for what is hidden goes out in its place", "producer/redacted.py",
        "    if HIDDEN in repr(value) and HIDDEN in repr(seen) and HIDDEN not in repr(whole):\n",
        "    if False:\n",
        f"{MEETING}::test_what_its_editor_could_not_see_is_put_back_or_the_edit_is_refused",
    ),
)  # fmt: skip
