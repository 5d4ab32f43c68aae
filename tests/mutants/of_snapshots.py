"""The guards of snapshots, and of a cloud's instances."""

from tests.mutants.mutant import Mutant

SNAPSHOTS = "tests/integration/test_snapshots.py"
ALERTS = "tests/integration/test_cost_alert.py"
TAGS = f"{ALERTS}::test_no_certainty_of_a_model_shuts_down_what_a_tag_protects"
MODEL = f"{ALERTS}::test_however_a_model_misbehaves_it_is_one_stop_or_none_within_the_budget"

OF_SNAPSHOTS = (
    Mutant(
        "-", "a write is made without its snapshot", "worker/gateway.py",
        "            await before.take(order.args, order.warrant)\n",
        "            pass\n",
        f"{SNAPSHOTS}::test_a_write_whose_snapshot_failed_is_not_made",
    ),
    Mutant(
        "-", "a snapshot is taken before anybody has approved its write", "worker/snapshot.py",
        "if self._record is not None and self._record.state is not EntryState.RELEASED:",
        "if True:",
        f"{SNAPSHOTS}::test_a_call_that_waits_for_a_person_keeps_nothing_before_they_have_said_yes",
    ),
    Mutant(
        "P3", "a replay does not come by a snapshot", "worker/snapshot.py",
        "if self._record is not None and self._record.state is not EntryState.RELEASED:",
        "if False:",
        f"{SNAPSHOTS}::test_a_worker_that_dies_around_a_snapshot_leaves_one_snapshot_and_one_write",
    ),
    Mutant(
        "-", "a write is rolled back without a snapshot to go back to", "worker/rollback.py",
        "if before is None or before.state is not EntryState.SETTLED:",
        "if before is None:\n            return Undoing(record.step, UNDO + record.step,"
        " tool.undo.tool, {'id': '', 'n': 0})\n        if False:",
        f"{SNAPSHOTS}::test_without_a_snapshot_to_go_back_to_nothing_is_taken_back",
    ),
    Mutant(
        "-", "a roll-back takes the snapshots back", "worker/rollback.py",
        "        and each.step not in kept\n",
        "",
        f"{SNAPSHOTS}::test_what_stood_there_is_kept_before_the_write_and_given_to_the_undo",
    ),
    Mutant(
        "-", "a pipeline need not declare what takes a snapshot", "worker/steps.py",
        "held, tool, given, step=step, number=number, allowed=self.tools",
        "held, tool, given, step=step, number=number, allowed={tool.name: tool}",
        f"{SNAPSHOTS}::test_a_pipeline_that_does_not_declare_the_snapshots_tool_makes_no_write",
    ),
    Mutant(
        "-", "what destroys may be a snapshot", "tools/tool.py",
        "if first is not None and first.tool.effect is Effect.DESTRUCTIVE:",
        "if False:",
        f"{SNAPSHOTS}::test_what_destroys_is_no_snapshot",
    ),
    Mutant(
        "-", "a model may have production shut down", "worker/pipelines/cost_alert_analysis.py",
        '    return f"it is tagged \'{tag}\', so it is never shut down" if tag else None',
        "    return None",
        TAGS,
    ),
    Mutant(
        "-", "tags are compared as they are spelt", "tools/cloud/form.py",
        'normalize("NFKD", tag).casefold()',
        'normalize("NFKD", tag)',
        TAGS,
    ),
    Mutant(
        "-", "a model need not be sure", "worker/pipelines/cost_alert_analysis.py",
        "    if analysis.confidence < BAR:",
        "    if False:",
        MODEL,
    ),
    Mutant(
        "-", "the cloud is not told of the rail", "tools/cloud/provider.py",
        '"unless_tagged": list(PROTECTED)',
        '"unless_tagged": []',
        f"{ALERTS}::test_what_has_changed_since_it_was_approved_is_not_shut_down",
    ),
    Mutant(
        "P7", "a policy that does not mention shutdowns lets them pass", "config/policy.py",
        "), USUAL.get(tool))",
        "), None)",
        f"{ALERTS}::test_that_holds_under_a_policy_that_does_not_mention_it",
    ),
    Mutant(
        "P7", "below the amount a model may have it shut down by itself", "worker/approval.py",
        "rule is None or rule is USUAL.get(order.tool.name)",
        "rule is None",
        f"{ALERTS}::test_what_a_model_proposes_is_asked_about_below_the_amount_too",
    ),
    Mutant(
        "P7", "at the amount a person is asked as well", "config/policy_approvals.py",
        "found is None or not found <= self.amount",
        "found is None or not found < self.amount",
        f"{ALERTS}::test_above_a_hundred_a_month_a_person_is_asked_and_at_it_nobody",
    ),
    Mutant(
        "-", "a dry run shuts down", "worker/pipelines/cost_alert.py",
        "    if alert.dry_run:",
        "    if False:",
        f"{ALERTS}::test_a_dry_run_tells_what_would_be_saved_and_changes_nothing",
    ),
    Mutant(
        "-", "nobody looks whether it has stopped", "worker/pipelines/cost_alert.py",
        "    if not holds:",
        "    if False:",
        f"{ALERTS}::test_what_is_not_seen_to_have_stopped_is_started_from_its_snapshot",
    ),
    Mutant(
        "-", "a model that fails ends the alert", "worker/pipelines/cost_alert.py",
        "        except ToolFailed:\n            pass\n",
        "        except ToolFailed:\n            raise\n",
        MODEL,
    ),
)  # fmt: skip
