"""The guards, each with what the code says without it, and the test that must go red then."""

from tests.mutants.calls import OF_CALLS
from tests.mutants.egress import OF_EGRESS
from tests.mutants.mutant import Mutant
from tests.mutants.of_autonomy import OF_AUTONOMY
from tests.mutants.of_mcp import OF_MCP
from tests.mutants.of_memory import OF_MEMORY
from tests.mutants.of_models import OF_MODELS
from tests.mutants.of_plans import OF_PLANS
from tests.mutants.of_proposals import OF_PROPOSALS
from tests.mutants.of_research import OF_RESEARCH
from tests.mutants.of_snapshots import OF_SNAPSHOTS
from tests.mutants.of_versions import OF_VERSIONS
from tests.mutants.of_window import OF_WINDOW
from tests.mutants.retries import OF_RETRIES
from tests.mutants.trials import OF_TRIALS
from tests.mutants.writing import OF_WRITING

SUBMISSIONS, RECOVERY = (
    "tests/integration/test_submissions.py",
    "tests/integration/test_recovery.py",
)
SPINE, FLOW = "tests/integration/test_spine.py", "tests/integration/test_flow.py"
DOUBT, CHECKPOINT = "tests/integration/test_doubt.py", "tests/integration/test_checkpoint.py"
CANCEL, RETENTION = "tests/integration/test_cancel.py", "tests/integration/test_retention.py"
LINE, HTTP = "tests/integration/test_line.py", "tests/integration/test_http.py"
DEAD = "tests/chaos/test_dead_workers.py"
SPEND = "tests/integration/test_spend.py"
OVERRUNS = "tests/integration/test_overruns.py"
CEILINGS, VIEWS = (
    "tests/integration/test_ceilings.py",
    "tests/integration/test_redacted_views.py",
)
POLICY = "tests/integration/test_policy_in_force.py"
LOOPS = "tests/integration/test_repetition.py"
HEALTH, TURNSTILE = "tests/integration/test_health.py", "tests/integration/test_turnstile.py"
RETRIES = "tests/integration/test_retry_budget.py"
GATE, SAFE = "tests/integration/test_gate.py", "tests/chaos/test_safe_mode.py"

MUTANTS = (
    Mutant(
        "P1", "fingerprints are not compared", "models/admission.py",
        "if replayed and winner.fingerprint != candidate.fingerprint:",
        "if False:",
        f"{SUBMISSIONS}::test_another_payload_under_a_known_key_is_refused_and_the_first_stands",
    ),
    Mutant(
        "P1", "what is unfinished or in doubt is purged", "models/tombstone.py",
        "AND e.state IN ('reserved', 'in_doubt')",
        "AND false",
        f"{RETENTION}::test_what_is_unfinished_waits_or_is_in_doubt_is_never_purged",
    ),
    Mutant(
        "P1", "a key goes together with its payload", "models/tombstone.py",
        "         WHERE finished_at < now() - make_interval(secs => $1)\n",
        "         WHERE $1::float > 0\n",
        f"{RETENTION}::test_payloads_go_after_a_week_and_keys_a_month_after_the_finish",
    ),
    Mutant(
        "P1", "a purge reads the whole table", "models/tombstone.py",
        "WHERE id > $1 ORDER BY id LIMIT $3),",
        "WHERE id > $1 AND created_at < now() - make_interval(secs => $2) LIMIT $3),",
        f"{RETENTION}::test_a_walk_reads_no_further_than_the_first_page_of_young_runs",
    ),
    Mutant(
        "P2", "the claim does not look at `status` again", "worker/claim.py",
        "AND run.status || '' = 'queued'\n                  FOR UPDATE SKIP LOCKED",
        "FOR UPDATE",
        f"{DEAD}::test_eight_workers_racing_for_the_same_runs_execute_each_once",
    ),
    Mutant(
        "P2", "no fence of checkpoints", "worker/checkpoint.py",
        "WHERE (run.id, run.attempt) IN (SELECT m.run_id, m.attempt FROM m)\n"
        "           AND run.status = 'running'",
        "WHERE run.id IN (SELECT m.run_id FROM m)",
        f"{CHECKPOINT}::test_an_earlier_attempt_writes_nothing",
    ),
    Mutant(
        "P2", "an adopted run keeps its attempt", "worker/claim.py",
        "UPDATE run SET attempt = attempt + 1, lease_expires_at",
        "UPDATE run SET lease_expires_at",
        f"{RECOVERY}::test_what_a_worker_let_go_it_claims_again_as_a_new_attempt",
    ),
    Mutant(
        "P2", "testimony needs no token", "worker/testimony.py",
        "AND e.token = $3",
        "AND $3::uuid IS NOT NULL",
        f"{DOUBT}::test_a_late_answer_to_a_try_that_was_repeated_changes_nothing",
    ),
    Mutant(
        "P3", "a settled result is not used", "worker/record.py",
        'return (self.result or b"null") if done else None',
        "return None",
        f"{SPINE}::test_a_resumed_run_does_not_repeat_a_settled_step",
    ),
    Mutant(
        "P3", "a recorded failure is not raised", "worker/record.py",
        "if self.state is EntryState.REJECTED:",
        "if False:",
        f"{FLOW}::test_a_rejected_run_ends_and_a_review_is_never_decided_twice",
    ),
    Mutant(
        "P3", "recorded arguments are not compared", "worker/record.py",
        "if self.args_hash != digest:",
        "if False:",
        f"{SPINE}::test_a_pipeline_that_asks_other_things_on_resume_stops_as_a_replay_mismatch",
    ),
    Mutant(
        "P3", "an outcome that came meanwhile is not looked for", "worker/checkpoint.py",
        "elif place in final:",
        "elif False:",
        f"{DOUBT}::test_a_run_that_learns_of_the_answer_while_it_tries_goes_on_with_it",
    ),
    Mutant(
        "P4", "a WRITE_ONCE in doubt is sent again", "worker/doubt.py",
        "known_there = tool.effect is Effect.WRITE and arrives_s",
        "known_there = arrives_s",
        f"{DOUBT}::test_a_write_that_cannot_be_looked_up_is_never_repeated_but_asked_about",
    ),
    Mutant(
        "P4", "a new key for each try", "worker/order.py",
        'key=f"{run_id}:{self.step}"',
        'key=f"{run_id}:{self.step}:{since}"',
        f"{SPINE}::test_a_resumed_run_does_not_repeat_a_settled_step",
    ),
    Mutant(
        "P4", "a key may be forgotten before the second try arrives", "worker/doubt.py",
        "arrives_s = self.age_s() + call.deadline - time.monotonic() + MARGIN_S",
        "arrives_s = self.age_s()",
        f"{DOUBT}::test_a_key_that_may_be_forgotten_on_the_way_is_not_sent_again",
    ),
    Mutant(
        "P4", "a run that stops by itself in doubt lists none", "worker/departure.py",
        "AND state = 'reserved' AND kind = 'call'",
        "AND false AND kind = 'call'",
        f"{DOUBT}::test_a_run_out_of_time_leaves_its_doubt_behind",
    ),
    Mutant(
        "P4", "a doubt ends by itself when its run was cancelled", "models/cancel.py",
        "SET decide_by = NULL",
        "SET decide_by = decide_by",
        f"{CANCEL}::test_a_doubt_outlives_its_cancelled_run_and_has_no_end",
    ),
    Mutant(
        "P4", "a second cancelling cuts off a write under way", "worker/trip.py",
        "while not writing.done():",
        "if not writing.done():",
        f"{DOUBT}::test_a_write_under_way_is_awaited_however_often_its_run_is_called_off",
    ),
    Mutant(
        "P4", "a doubt is looked up at once", "worker/doubt.py",
        "self._wait(tool.sees_after_s)",
        "self._wait(-3600)",
        f"{DOUBT}::test_a_write_in_doubt_is_looked_up_once_it_can_no_longer_travel",
    ),
    Mutant(
        "P4", "a person is asked at once", "worker/doubt.py",
        "self._wait(0)",
        "self._wait(-3600)",
        f"{DOUBT}::test_a_refusal_of_the_second_try_says_nothing_about_the_first",
    ),
    Mutant(
        "P4", "a refusal of the second try ends the doubt of the first", "worker/trip.py",
        "if self._doubt.open:  # what",
        "if False:  # what",
        f"{DOUBT}::test_a_refusal_of_the_second_try_says_nothing_about_the_first",
    ),
    Mutant(
        "P4", "a doubt that has ended is asked about", "worker/parking.py",
        "AND e.state NOT IN ('reserved', 'in_doubt'))",
        "AND false)",
        f"{DOUBT}::test_a_doubt_that_a_late_answer_has_ended_is_no_question",
    ),
    Mutant(
        "P3", "testimony keeps the token", "worker/testimony.py",
        "token = gen_random_uuid(), ",
        "",
        f"{DOUBT}::test_what_a_late_answer_says_goes_before_what_a_look_up_finds",
    ),
    Mutant(
        "P4", "a finished run's doubt is asked about at once", "models/doubt.py",
        "AND coalesce(e.quiet_at, now()) <= now()",
        "",
        f"{DOUBT}::test_a_run_that_ends_in_doubt_leaves_a_listed_doubt",
    ),
    Mutant(
        "P4", "late answers are not heard", "worker/trip.py",
        "await self._journal.testify(entry)",
        "pass",
        f"{DOUBT}::test_a_late_answer_is_believed_while_the_write_is_in_doubt",
    ),
    Mutant(
        "P4", "a write under way is cut off with its run", "worker/trip.py",
        "return await asyncio.shield(writing)",
        "return await writing",
        f"{FLOW}::test_a_write_that_has_left_is_awaited_and_recorded_though_its_run_is_out_of_time",
    ),
    Mutant(
        "P4", "a run that ends in doubt lists none", "models/doubt.py",
        "AND state = 'reserved' AND kind = 'call'",
        "AND false AND kind = 'call'",
        f"{DOUBT}::test_a_run_that_ends_in_doubt_leaves_a_listed_doubt",
    ),
    Mutant(
        "P4", "a write leaves after `send_before`", "tools/line.py",
        "        self.refuse_when_late()\n        if self.writes and not",
        "        if self.writes and not",
        f"{LINE}::test_a_write_whose_time_passed_with_a_connection_in_hand_does_not_leave",
    ),
    Mutant(
        "P4", "aiohttp resends", "tools/http.py",
        "middlewares=(never_again,) if leaving.writes else (),",
        "middlewares=(),",
        f"{LINE}::test_a_write_on_a_kept_connection_that_breaks_is_not_sent_again",
    ),
    Mutant(
        "P4", "a WRITE_ONCE need not say how it is looked up", "tools/tool.py",
        "if self.effect is Effect.WRITE_ONCE and self.lookup is None:",
        "if False:",
        f"{DOUBT}::test_a_write_says_at_import_what_safety_needs",
    ),
    Mutant(
        "P4", "a WRITE need not say for how long its key is kept", "tools/tool.py",
        "if self.effect is Effect.WRITE and self.key_kept_for_s <= 0:",
        "if False:",
        f"{DOUBT}::test_a_write_says_at_import_what_safety_needs",
    ),
    Mutant(
        "P6", "the intent does not read the gate", "worker/intent.py",
        "AND mode <> m.needs",
        "AND false",
        f"{CHECKPOINT}::test_an_intent_behind_a_shut_gate_leaves_nothing_behind",
    ),
    Mutant(
        "P6", "the flip does not lock the table", "models/gate.py",
        "; LOCK TABLE gate IN ACCESS EXCLUSIVE MODE",
        "",
        "tests/race/test_race.py"
        "::test_no_write_starts_after_stopped_however_eight_writers_race_three_hundred_flips",
    ),
    Mutant(
        "P6", "a session that sits on the gate is not ended", "models/gate.py",
        '        if row["idle"]:\n',
        "        if False:\n",
        "tests/race/test_sessions.py"
        "::test_the_flip_ends_a_session_that_sits_on_the_gate_without_a_timeout",
    ),
    Mutant(
        "P6", "a client frozen in a statement may hold the gate", "models/gate.py",
        " OR a.wait_event = 'ClientRead'",
        "",
        "tests/race/test_sessions.py"
        "::test_the_flip_ends_a_session_that_was_frozen_in_the_midst_of_a_statement",
    ),
    Mutant(
        "P6", "a misspelt scope is flipped", "models/gate.py",
        "        await known(scope)\n",
        "        pass\n",
        "tests/integration/test_gate_commands.py"
        "::test_a_misspelt_scope_is_refused_with_what_may_be_meant",
    ),
    Mutant(
        "P6", "safe mode on loosens a closed gate", "producer/gate_commands.py",
        "loosen=False",
        "loosen=True",
        "tests/integration/test_gate_commands.py"
        "::test_safe_mode_on_does_not_loosen_what_somebody_has_closed",
    ),
    Mutant(
        "P6", "a standing safe mode is the table's word alone", "worker/gatekeeper.py",
        "if self._standing and POLICY not in shut:",
        "if False:",
        f"{GATE}::test_a_worker_with_a_standing_safe_mode_writes_nothing_whatever_the_table_says",
    ),
    Mutant(
        "P6", "a doubt that could be looked up waits for the gate", "worker/doubt.py",
        "send_first = may_send or tool.lookup is None",
        "send_first = True",
        f"{GATE}::test_a_doubt_is_looked_up_in_safe_mode_and_nothing_is_sent_again",
    ),
    Mutant(
        "P6", "runs come back through a closed gate", "worker/sweeper.py",
        "         WHERE mode <> 'closed'\n",
        "         WHERE true\n",
        f"{GATE}"
        "::test_behind_a_closed_gate_a_run_parks_at_its_next_step_and_goes_on_in_safe_mode",
    ),
    Mutant(
        "P6", "in safe mode a worker carries as much as ever", "worker/intake.py",
        "// (2 if safe and self._room > 1 else 1)",
        "// 1",
        f"{SAFE}::test_behind_a_closed_gate_nothing_is_claimed_and_in_safe_mode_half_as_much",
    ),
    Mutant(
        "-", "a tenant's key flips any scope", "producer/gates.py",
        '    if not caller.operator and scope != f"tenant:{caller.tenant}":\n',
        "    if False:\n",
        "tests/integration/test_gate_api.py::test_a_tenants_key_flips_its_own_scope_and_no_other",
    ),
    Mutant(
        "-", "a tenant opens what an operator has shut", "producer/gates.py",
        "rows = [] if caller.operator else await gates()",
        "rows = []",
        "tests/integration/test_gate_api.py"
        "::test_a_tenant_does_not_open_what_an_operator_has_shut",
    ),
    Mutant(
        "-", "lines of the audit may be changed", "models/migrations/versions/0004_the_gate.py",
        "BEFORE UPDATE OR DELETE OR TRUNCATE ON audit",
        "BEFORE TRUNCATE ON audit",
        "tests/integration/test_audit_lines.py::test_a_line_is_never_changed_nor_taken_out",
    ),
    Mutant(
        "-", "lines of the audit do not wait for one another", "models/audit.py",
        "    await connection.execute(_IN_TURN)\n",
        "",
        "tests/integration/test_audit.py::test_two_hundred_at_once_make_one_chain_without_a_gap",
    ),
    Mutant(
        "-", "a changed line passes", "models/audit.py",
        " or line.sealed() != line.hash",
        "",
        "tests/integration/test_audit.py"
        "::test_what_was_done_behind_the_triggers_back_is_told_with_its_line",
    ),
    Mutant(
        "-", "a line need not fit the one before", "models/audit.py",
        "line.before != before or ",
        "",
        "tests/integration/test_audit.py"
        "::test_a_line_that_was_sealed_anew_does_not_fit_the_one_behind_it",
    ),
    Mutant(
        "-", "what was before a person opened the gate trips it again", "models/pulse.py",
        "(SELECT changed_at FROM gate WHERE scope = 'fleet')",
        "now() - interval '1 h'",
        "tests/integration/test_tripwire.py"
        "::test_two_workers_whose_runs_fail_trip_once_and_only_a_person_opens_again",
    ),
    Mutant(
        "-", "log lines are not redacted", "config/telemetry.py",
        "            own.redactor.processor,\n",
        "",
        "tests/unit/test_redaction.py::test_every_log_line_passes_it",
    ),
    Mutant(
        "P6", "STOPPED does not wait for what may leave", "models/standstill.py",
        "        if not found.may_start:\n",
        "        if True:\n",
        f"{GATE}::test_stopped_waits_for_an_intent_that_may_leave_and_drained_lists_the_doubt",
    ),
    Mutant(
        "P6", "who shut the gate is not told that somebody opened it", "models/standstill.py",
        'if row is None or row["epoch"] != epoch:',
        "if False:",
        f"{GATE}::test_who_shut_the_gate_is_told_when_somebody_opens_it_meanwhile",
    ),
    Mutant(
        "P6", "not every connection reads committed", "models/database.py",
        '    "default_transaction_isolation": "read committed",\n',
        "",
        "tests/integration/test_migrations.py"
        "::test_every_connection_reads_committed_whatever_the_databases_default_is",
    ),
    Mutant(
        "P4", "a later refusal says of the whole call that nothing happened", "tools/http.py",
        "            if not wrote_before:\n",
        "            if True:\n",
        f"{LINE}::test_once_a_call_has_written_no_later_refusal_says_that_nothing_happened",
    ),
    Mutant(
        "P6", "DRAINED does not wait for what is under way", "models/standstill.py",
        "    while found.may_travel:\n",
        "    while False:\n",
        f"{GATE}::test_stopped_waits_for_an_intent_that_may_leave_and_drained_lists_the_doubt",
    ),
    Mutant(
        "P6", "an entry with an outcome is past, whatever its tries", "models/standstill.py",
        "WHERE tries > 1 AND state NOT IN",
        "WHERE false AND state NOT IN",
        f"{GATE}::test_a_closed_entry_of_several_tries_counts_until_the_last_may_no_longer_leave",
    ),
    Mutant(
        "P6", "right after a flip the database's clock is believed", "models/standstill.py",
        "OR ($3 AND e.state = 'reserved' AND r.status = 'running') AS may_start",
        "OR ($3 AND false) AS may_start",
        f"{GATE}::test_after_a_jump_of_the_databases_clock_stopped_still_waits",
    ),
    Mutant(
        "P6", "a later try may shorten the deadline of an earlier one", "worker/intent.py",
        "send_before = greatest(e.send_before, EXCLUDED.send_before),",
        "send_before = EXCLUDED.send_before,",
        f"{CHECKPOINT}::test_the_deadlines_of_an_entry_only_grow",
    ),
    Mutant(
        "P6", "calls start though nobody has seen the gate", "worker/gatekeeper.py",
        "        if time.monotonic() - self._seen > STALE_S:\n            await self._see()\n",
        "",
        f"{SAFE}::test_while_postgres_is_away_no_call_of_any_kind_starts_and_then_all_go_on",
    ),
    Mutant(
        "P6", "behind a closed gate steps go on", "worker/steps.py",
        "        self._gateway.gatekeeper.pass_by(held)\n",
        "",
        f"{GATE}::test_behind_a_closed_gate_not_even_a_decision_is_made",
    ),
    Mutant(
        "P6", "behind a closed gate runs are claimed", "worker/intake.py",
        "if self._gatekeeper.fleet is GateMode.CLOSED:",
        "if False:",
        f"{SAFE}::test_behind_a_closed_gate_nothing_is_claimed_and_in_safe_mode_half_as_much",
    ),
    Mutant(
        "P6", "in safe mode a call is tried again on the spot", "worker/trip.py",
        "here = not careful and self._tries",
        "here = self._tries",
        f"{GATE}::test_in_safe_mode_nothing_is_tried_again_on_the_spot",
    ),
    Mutant(
        "P6", "in safe mode any read goes on", "worker/gatekeeper.py",
        "allowed = not tool.writes and self._rulebook.file.policy.safe_mode.allows(tool.name)",
        "allowed = not tool.writes",
        f"{GATE}::test_in_safe_mode_an_allowed_read_goes_on_and_another_waits",
    ),
    Mutant(
        "P6", "all that is parked comes back at once", "worker/sweeper.py",
        "ORDER BY run.id LIMIT turn.cohort FOR NO KEY UPDATE",
        "ORDER BY run.id FOR NO KEY UPDATE",
        f"{GATE}::test_parked_runs_come_back_the_oldest_first_in_cohorts_that_double",
    ),
    Mutant(
        "P6", "each sweeper lets go a cohort of its own", "worker/sweeper.py",
        "           AND NOT cohort_at"
        " BETWEEN now() - interval '{_COHORT_S} s' AND clock_timestamp()\n",
        "",
        f"{GATE}::test_parked_runs_come_back_the_oldest_first_in_cohorts_that_double",
    ),
    Mutant(
        "P6", "one scope's opening lets go another's runs", "worker/sweeper.py",
        "                  AND coalesce(gate_scope, 'fleet') = turn.scope\n",
        "",
        f"{GATE}::test_parked_at_one_scope_a_run_is_not_let_go_by_another",
    ),
    Mutant(
        "P6", "the policy's gate opens though a worker holds to it", "models/gate.py",
        "WHERE safe_mode AND last_seen",
        "WHERE false AND last_seen",
        f"{GATE}::test_the_policys_gate_opens_when_no_living_worker_holds_to_it",
    ),
    Mutant(
        "P4", "nobody looks whether the database was replaced", "worker/engine.py",
        "watch=timeline.watch,",
        "watch=None,",
        "tests/chaos/test_replaced_database.py"
        "::test_a_restored_database_stops_the_writes_until_an_operator_says_otherwise",
    ),
    Mutant(
        "P5", "the budget is not checked", "worker/held.py",
        "if broken is not None:",
        "if False:",
        f"{SPINE}::test_a_ceiling_holds_across_attempts",
    ),
    Mutant(
        "P5", "an undo is held up by its run's own ceilings", "worker/held.py",
        "    def _within_budget(self) -> None:\n        if self.undoing:\n",
        "    def _within_budget(self) -> None:\n        if False:\n",
        "tests/integration/test_roll_back.py"
        "::test_writes_after_a_step_are_taken_back_the_last_one_first_over_the_ceiling",
    ),
    Mutant(
        "P8", "leases are taken right after an outage", "worker/sweeper.py",
        "WHERE me.id = $2 AND",
        "WHERE true OR me.id = $2 AND",
        f"{RECOVERY}::test_only_who_was_seen_without_a_gap_takes_runs_from_others",
    ),
    Mutant(
        "P8", "nobody takes leases that have run out", "worker/sweeper.py",
        "AND (lease_expires_at < now() OR",
        "AND (false OR",
        f"{DEAD}::test_a_killed_workers_runs_are_finished_by_another_within_a_lease",
    ),
    Mutant(
        "P8", "no crash limit", "worker/sweeper.py",
        "WHEN crashes + 1 >= $1 THEN 'crashes_exhausted'",
        "WHEN $1::int < 0 THEN 'crashes_exhausted'",
        f"{SPINE}::test_a_run_that_kills_every_worker_is_finished_as_crashes_exhausted",
    ),
    Mutant(
        "P8", "suspects are claimed in company", "worker/claim.py",
        "                  AND r.crashes < {SUSPECT_AT}\n",
        "",
        "tests/chaos/test_poison.py::test_one_poison_run_among_two_thousand_harms_nobody",
    ),
    Mutant(
        "P8", "no bug limit", "worker/runner.py",
        "final = held.bugs + 1 >= self._bug_limit",
        "final = False",
        f"{SPINE}"
        "::test_a_bug_is_recorded_at_once_with_its_traceback_and_ends_the_run_the_third_time",
    ),
    Mutant(
        "P8", "a shutdown leaves its runs without a departure", "worker/runner.py",
        "return self._snooze(held, Snooze(timedelta(0), WaitingFor.WORKER, _SHUT_DOWN))",
        "raise LostLease from None",
        f"{DEAD}::test_a_worker_told_to_go_finishes_what_it_can_and_burns_nothing",
    ),
    Mutant(
        "P8", "a worker does not hear that its run was cancelled", "worker/heartbeat.py",
        "elif each.id in unwanted:",
        "elif False:",
        f"{CANCEL}::test_a_running_run_is_cancelled_with_its_workers_next_heartbeat",
    ),
    Mutant(
        "P8", "a cancelled run that left its worker is done again", "worker/sweeper.py",
        "cancelled = await end_the_left()",
        "cancelled = 0",
        f"{CANCEL}::test_a_run_that_left_to_sleep_while_it_was_cancelled_is_ended",
    ),
    Mutant(
        "-", "outcomes are ordinary exceptions", "worker/outcome.py",
        "class Outcome(BaseException):",
        "class Outcome(Exception):",
        f"{FLOW}::test_no_pipeline_can_swallow_an_outcome",
    ),
    Mutant(
        "-", "any tool may be called", "worker/allowance.py",
        "if declared.get(tool.name) is not tool:",
        "if False:",
        f"{FLOW}::test_the_gateway_refuses_what_no_run_may_do",
    ),
    Mutant(
        "-", "the policy's allowlist is not asked", "worker/ruling.py",
        "    if not judged.allowed:\n",
        "    if False:\n",
        f"{POLICY}::test_a_tool_that_the_policy_does_not_let_pass_is_denied_by_name_of_the_rule",
    ),
    Mutant(
        "-", "deny does not win", "config/policy.py",
        "        for pattern in self.tools.deny:\n",
        "        for pattern in ():\n",
        f"{POLICY}::test_a_tool_that_the_policy_does_not_let_pass_is_denied_by_name_of_the_rule",
    ),
    Mutant(
        "-", "a write need not be idempotent though the policy says so", "worker/ruling.py",
        "if tool.name in policy.tools.idempotency_required and not answerable:",
        "if False:",
        f"{POLICY}::test_a_write_that_must_be_idempotent_needs_a_target_that_can_tell",
    ),
    Mutant(
        "P5", "the day's windows are not asked", "worker/intent.py",
        '{_PAYABLE if paid else ""}',
        "",
        f"{SPEND}::test_in_one_batch_only_so_many_are_admitted_as_can_be_paid",
    ),
    Mutant(
        "P5", "the windows are not locked", "worker/intent.py",
        "ORDER BY scope <> '{FLEET}', scope FOR UPDATE),",
        "ORDER BY scope <> '{FLEET}', scope),",
        f"{SPEND}::test_sixty_four_at_once_never_break_a_ceiling_at_any_commit",
    ),
    Mutant(
        "P5", "money is booked in today's window, whenever it was reserved",
        "models/migrations/versions/0008_overruns.py",
        "coalesce(NEW.spend_day, spend_day());",
        "spend_day();",
        f"{SPEND}::test_over_midnight_money_is_settled_where_it_was_reserved",
    ),
    Mutant(
        "P5", "the policy's ceilings are not kept", "worker/runner.py",
        "            held.budget = held.budget.within(policy.agent.budgets)\n",
        "",
        f"{POLICY}::test_a_run_stops_at_the_lower_ceiling_of_its_pipeline_and_the_policy",
    ),
    Mutant(
        "P5", "a tool's own ceiling is not kept", "worker/held.py",
        "if most is not None and self.calls_of[tool] > most:",
        "if False:",
        f"{POLICY}::test_a_tools_own_ceiling_holds_across_a_crash",
    ),
    Mutant(
        "P5", "calls before a crash do not count for a tool's ceiling", "worker/gateway.py",
        "        held.met(tool.name, order.digest)\n",
        "",
        f"{POLICY}::test_a_tools_own_ceiling_holds_across_a_crash",
    ),
    Mutant(
        "P5", "which windows is looked up again after a wait", "worker/intent.py",
        """= ANY (ARRAY(
               SELECT '{FLEET}' UNION ALL SELECT 'tenant:' || tenant FROM fence))""",
        "IN (SELECT '{FLEET}' UNION ALL SELECT 'tenant:' || tenant FROM fence)",
        f"{SPEND}::test_whoever_waited_at_a_window_is_not_refused_while_there_is_room",
    ),
    Mutant(
        "P5", "a day is the session's", "models/migrations/versions/0008_overruns.py",
        "(now() AT TIME ZONE 'utc')::date",
        "now()::date",
        f"{OVERRUNS}::test_the_day_is_utc_whatever_the_session_says",
    ),
    Mutant(
        "P5", "what a tool says that it was charged is not heard", "worker/order.py",
        "sum(self._bill, Decimal(0)) if self._bill else usually",
        "usually",
        f"{OVERRUNS}::test_less_than_was_reserved_goes_back",
    ),
    Mutant(
        "P5", "an overrun is not told", "worker/overrun.py",
        "if each.usd <= each.release_usd:",
        "if True:",
        f"{OVERRUNS}::test_more_than_was_reserved_is_booked_and_told",
    ),
    Mutant(
        "P5", "an overrun that was not booked is told", "worker/checkpoint.py",
        "[each for each in entries if (each.run_id, each.step) in taken]",
        "entries",
        f"{OVERRUNS}::test_an_outcome_that_was_not_taken_tells_of_no_overrun",
    ),
    Mutant(
        "P5", "a late overrun is not told", "worker/testimony.py",
        "                await alarm(connection, [each])\n",
        "",
        f"{OVERRUNS}::test_an_overrun_that_comes_late_is_told_as_well",
    ),
    Mutant(
        "P5", "a window does not show its overrun", "models/migrations/versions/0008_overruns.py",
        "overrun  = overrun + over\n",
        "overrun  = overrun\n",
        f"{OVERRUNS}::test_more_than_was_reserved_is_booked_and_told",
    ),
    Mutant(
        "P5", "what a call came to does not change its run's budget", "worker/purse.py",
        "self._held.usage.usd += usd - self.reserved",
        "pass",
        f"{OVERRUNS}::test_an_overrun_counts_in_its_runs_own_budget",
    ),
    Mutant(
        "P5", "what a failed try was charged is forgotten", "worker/checkpoint.py",
        "spent_usd = e.spent_usd + EXCLUDED.spent_usd,",
        "spent_usd = EXCLUDED.spent_usd,",
        f"{OVERRUNS}::test_what_a_failed_try_was_charged_is_kept_when_the_next_one_goes_well",
    ),
    Mutant(
        "P5", "a crash gives active seconds back", "worker/heartbeat.py",
        ", active_s = mine.active_s",
        "",
        f"{CEILINGS}::test_active_seconds_survive_the_worker_that_used_them",
    ),
    Mutant(
        "P5", "what earlier attempts used is forgotten", "worker/claim.py",
        'Usage(row["steps"], row["calls"], row["tokens"], row["usd"], row["active_s"])',
        "Usage()",
        f"{CEILINGS}::test_across_a_crash_and_a_restart_the_ceiling_is_the_same",
    ),
    Mutant(
        "-", "errors of tools are kept as they are", "worker/use.py",
        "(redact(str(error)),)",
        "(str(error),)",
        f"{VIEWS}::test_no_log_no_error_and_no_view_tells_a_secret",
    ),
    Mutant(
        "-", "what a pipeline raises is kept as it is", "worker/runner.py",
        'self._redact("".join(traceback.format_exception(error)))',
        '"".join(traceback.format_exception(error))',
        f"{VIEWS}::test_no_log_no_error_and_no_view_tells_a_secret",
    ),
    Mutant(
        "-", "a client's result is handed out as it is", "producer/redacted.py",
        "seen = redactor().data(value)",
        "seen = value",
        f"{VIEWS}::test_no_log_no_error_and_no_view_tells_a_secret",
    ),
    Mutant(
        "-", "documents are shown as they are", "producer/redacted.py",
        "return value if whole else redactor()(value)",
        "return value",
        f"{VIEWS}::test_no_log_no_error_and_no_view_tells_a_secret",
    ),
    Mutant(
        "-", "sentences are shown as they are", "producer/redacted.py",
        "redacted: T = redactor()(text)",
        "redacted = text",
        f"{VIEWS}::test_a_page_hides_what_a_log_would_hide",
    ),
    Mutant(
        "-", "a triage's files tell errors as they are", "producer/triage_results.py",
        'said(why) or ""',
        "why",
        f"{VIEWS}::test_a_triages_files_hide_secrets_and_leave_drafts_alone",
    ),
    Mutant(
        "-", "an edited answer holds asterisks for secrets", "producer/redacted.py",
        "    if answer == seen:\n        return whole\n",
        "",
        f"{VIEWS}::test_an_edited_answer_keeps_what_its_editor_could_not_see",
    ),
    Mutant(
        "-", "texts are not searched for names", "config/redaction.py",
        "self._pairs.sub(_named, self._shapes(text))",
        "self._shapes(text)",
        "tests/unit/test_redaction.py::test_what_may_hold_a_secret_is_hidden",
    ),
    Mutant(
        "-", "Sentry is sent secrets", "config/telemetry.py",
        "before_send=lambda event, _hint: own.redactor(event),",
        "before_send=lambda event, _hint: event,",
        "tests/unit/test_redaction.py::test_what_sentry_is_sent_is_redacted",
    ),
    Mutant(
        "-", "the policy's time-outs are not kept", "worker/ruling.py",
        "timeout_s=tool.timeout_s if timeout_s is None else min(tool.timeout_s, timeout_s),",
        "timeout_s=tool.timeout_s,",
        f"{POLICY}::test_a_shorter_time_out_of_the_policy_counts",
    ),
    Mutant(
        "-", "arguments are coerced though the policy is strict", "worker/drafting.py",
        "strict=strict or None",
        "strict=None",
        f"{POLICY}::test_strict_arguments_are_not_coerced",
    ),
    Mutant(
        "-", "a destructive tool is executed", "worker/ruling.py",
        "if self.tool.effect is Effect.DESTRUCTIVE and not by_person:",
        "if False:",
        f"{FLOW}::test_the_gateway_refuses_what_no_run_may_do",
    ),
    Mutant(
        "-", "a verdict may be given twice", "models/verdict.py",
        "WHERE id = $1 AND verdict IS NULL AND (decide_by",
        "WHERE id = $1 AND (decide_by",
        f"{FLOW}::test_a_rejected_run_ends_and_a_review_is_never_decided_twice",
    ),
    Mutant(
        "-", "loops are not looked for", "worker/gateway.py",
        "        held.repetition.saw(tool.name, order.digest, got, "
        "writes=tool.writes, failed=failed)\n",
        "        pass\n",
        f"{LOOPS}::test_the_third_identical_call_is_recorded_and_ends_the_run",
    ),
    Mutant(
        "-", "replayed steps are not looked at", "worker/gateway.py",
        "if not (tool.poll or held.undoing):",
        "if not (tool.poll or held.undoing or order.record):",
        f"{LOOPS}::test_a_resumed_run_comes_to_the_same_verdict",
    ),
    Mutant(
        "-", "results do not matter for a loop", "worker/repetition.py",
        "key = hash((asked, got))",
        "key = hash(asked)",
        f"{LOOPS}::test_identical_calls_with_other_results_are_no_loop",
    ),
    Mutant(
        "-", "polling is a loop", "worker/gateway.py",
        "if not (tool.poll or held.undoing):",
        "if not held.undoing:",
        f"{LOOPS}::test_a_tool_that_is_polled_may_say_the_same_for_ever",
    ),
    Mutant(
        "-", "taking back is a loop", "worker/gateway.py",
        "if not (tool.poll or held.undoing):",
        "if not tool.poll:",
        f"{LOOPS}::test_taking_back_is_never_cut_short_as_a_loop",
    ),
    Mutant(
        "-", "failures are not looked at", "worker/gateway.py",
        '    _saw(held, order, f"{failure.reason}: {failure}".encode(), failed=True)\n',
        "    pass\n",
        f"{LOOPS}::test_four_caught_failures_in_a_row_are_no_progress_before_and_after_a_crash",
    ),
    Mutant(
        "-", "circles of several calls are none", "worker/branch.py",
        "elif circle:",
        "elif False:",
        f"{LOOPS}::test_two_calls_in_turn_are_a_loop",
    ),
    Mutant(
        "-", "nothing new may come for ever", "worker/branch.py",
        "elif self._stale >= rules.no_progress_threshold:",
        "elif False:",
        f"{LOOPS}::test_six_calls_that_bring_nothing_new_are_no_progress",
    ),
    Mutant(
        "-", "every call may fail", "worker/branch.py",
        "elif self._failed >= rules.failures_threshold:",
        "elif False:",
        f"{LOOPS}::test_four_caught_failures_in_a_row_are_no_progress_before_and_after_a_crash",
    ),
    Mutant(
        "-", "what was written in between does not matter", "worker/repetition.py",
        "new = not failed and not branch.knows(key)\n",
        "new, writes = not failed and not branch.knows(key), False\n",
        f"{LOOPS}::test_something_new_written_between_makes_the_same_question_a_new_one",
    ),
    Mutant(
        "-", "calls side by side count one by one", "worker/repetition.py",
        "context.run(_BRANCH.set, branch)",
        "context.run(_BRANCH.set, None)",
        f"{LOOPS}::test_calls_side_by_side_are_one_step_of_a_loop_before_and_after_a_crash",
    ),
    Mutant(
        "-", "calls side by side do not count", "worker/flow.py",
        "        fork.join()\n",
        "",
        f"{LOOPS}::test_calls_side_by_side_are_one_step_of_a_loop_before_and_after_a_crash",
    ),
    Mutant(
        "-", "a person's answer is no progress", "worker/inquiry.py",
        "        held.repetition.answered()\n",
        "",
        f"{LOOPS}::test_a_decision_between_is_no_progress_and_a_persons_answer_is",
    ),
    Mutant(
        "-", "the policy's thresholds of loops are not kept", "worker/runner.py",
        "            held.repetition = Repetition(policy.agent.loop_detection)\n",
        "",
        f"{LOOPS}::test_two_calls_in_turn_are_a_loop",
    ),
    Mutant(
        "-", "a run's calls are remembered for ever", "worker/branch.py",
        "if len(self._young) >= _KEPT:",
        "if False:",
        "tests/unit/test_repetition.py"
        "::test_a_hundred_thousand_calls_are_remembered_in_bounded_room",
    ),
    Mutant(
        "-", "one sick worker opens a breaker for all", "tools/health.lua",
        "local agreed = workers <= 1 or (fail_there > 0 and fail_there >= rules.share * others)",
        "local agreed = true",
        f"{HEALTH}::test_one_sick_worker_shuts_its_own_breaker_and_nobody_elses",
    ),
    Mutant(
        "-", "a sick worker goes on by itself", "tools/patient.py",
        "if rules.enabled and closed and self.window.counts(now).sick(rules):",
        "if False:",
        f"{HEALTH}::test_one_sick_worker_shuts_its_own_breaker_and_nobody_elses",
    ),
    Mutant(
        "-", "a tool is called without asking though it fails", "tools/health.py",
        "if now < patient.easy_until and not terms.limited:",
        "if not terms.limited:",
        f"{HEALTH}::test_failures_at_two_workers_open_it_for_everybody",
    ),
    Mutant(
        "-", "a tool that dies after a good minute is called on and on", "tools/health.lua",
        "if age <= op.window / (which == 1 and 1 or 10) then",
        "if which == 1 and age <= op.window then",
        f"{HEALTH}::test_a_tool_that_dies_after_a_good_minute_is_left_alone_within_a_tenth_of_it",
    ),
    Mutant(
        "-", "everybody may probe a half open breaker", "tools/health.lua",
        ">= op.rules.probes then return 'breaker', HALF_OPEN end",
        ">= 1000 then return 'breaker', HALF_OPEN end",
        f"{HEALTH}::test_half_open_lets_three_probes_through_and_closes_when_they_go_well",
    ),
    Mutant(
        "-", "a prober that died keeps its place", "tools/health.lua",
        "  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)\n",
        "",
        f"{HEALTH}::test_a_prober_that_died_makes_room_when_its_lease_ends",
    ),
    Mutant(
        "-", "a late answer of before counts as a probe's", "tools/health.lua",
        "== 0 or not op.rules then return end",
        "> 1 then return end",
        f"{HEALTH}::test_what_a_call_of_before_came_to_says_nothing_of_the_probes",
    ),
    Mutant(
        "-", "a breaker that opens again does not stay open longer", "tools/health.lua",
        "rules.open * 2 ^ math.min(it.openings - 1, 12)",
        "rules.open",
        f"{HEALTH}::test_a_failed_probe_opens_it_for_twice_as_long",
    ),
    Mutant(
        "-", "what Redis forgets was never open", "tools/health.lua",
        "if op.view.epoch > it.epoch then",
        "if false then",
        f"{HEALTH}::test_what_was_open_stays_open_when_redis_forgets_it",
    ),
    Mutant(
        "-", "a 429 paces its own worker alone", "tools/health.lua",
        "if op.pace then it.pace = math.max(it.pace, now + op.pace) end",
        "",
        f"{HEALTH}::test_a_429_paces_the_fleet_for_as_long_as_it_says_and_opens_nothing",
    ),
    Mutant(
        "-", "who waits for a breaker comes back at once", "tools/patient.py",
        "spread_s = math.log2(1 + place) + ",
        "spread_s = ",
        f"{HEALTH}::test_refused_calls_are_told_to_come_in_cohorts",
    ),
    Mutant(
        "-", "without Redis each worker takes the whole rate", "tools/limiter.py",
        "            every_s *= share\n",
        "",
        f"{HEALTH}::test_without_redis_a_worker_has_a_breaker_and_its_share_of_the_limits",
    ),
    Mutant(
        "-", "a breaker that an operator holds open lets calls in", "tools/health.py",
        "if forced is BreakerState.OPEN:",
        "if False:",
        f"{HEALTH}::test_an_operator_holds_it_open_or_closed_whatever_is_seen",
    ),
    Mutant(
        "-", "the record of a breaker takes an earlier story", "models/breaker.py",
        "     WHERE b.epoch < EXCLUDED.epoch\n",
        "",
        f"{HEALTH}::test_each_change_is_on_record_and_the_later_story_wins",
    ),
    Mutant(
        "-", "a permit that was not used is kept", "worker/turnstile.py",
        "self.ends(CallOutcome.UNUSED)",
        "pass",
        f"{TURNSTILE}::test_a_permit_is_given_back_when_the_gate_or_the_budget_refuses_afterwards",
    ),
    Mutant(
        "-", "a try that an ill tool turned away writes over a doubt", "worker/trip.py",
        "if not (self._admitted if self._tries else self._order.record):",
        "if True:",
        f"{TURNSTILE}::test_a_write_in_doubt_behind_an_open_breaker_keeps_its_entry",
    ),
    Mutant(
        "-", "a run waits for a breaker for ever", "worker/trip.py",
        "left_s = self._order.ruling.max_wait_s - self._doubt.age_s()",
        "left_s = self._order.ruling.max_wait_s",
        f"{TURNSTILE}::test_a_run_that_waited_for_a_breaker_for_a_quarter_of_an_hour_stops_as_circuit_open",
    ),
    Mutant(
        "-", "whoever comes while Redis hangs waits for it", "tools/board.py",
        "if self._redis is None or (self._lost and not again):",
        "if self._redis is None:",
        f"{HEALTH}::test_a_redis_that_hangs_is_waited_for_once_and_asked_again_when_it_is_back",
    ),
    *OF_CALLS,
    *OF_EGRESS,
    *OF_RETRIES,
    *OF_MCP,
    *OF_MODELS,
    *OF_PROPOSALS,
    *OF_RESEARCH,
    *OF_TRIALS,
    *OF_MEMORY,
    *OF_AUTONOMY,
    *OF_PLANS,
    *OF_SNAPSHOTS,
    *OF_VERSIONS,
    *OF_WRITING,
    *OF_WINDOW,
)  # fmt: skip
