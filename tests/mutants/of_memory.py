"""The guards of what is remembered."""

from tests.mutants.mutant import Mutant

MEMORY = "tests/integration/test_memory.py"
SCHEMA = "models/migrations/versions/0010_memory.py"
WALL = "tests/integration/test_memory_wall.py"

OF_MEMORY = (
    Mutant(
        "-", "what has expired is recalled until it is purged", "worker/keeping.py",
        " AND expires_at > now()\n",
        "\n",
        f"{MEMORY}::test_the_current_quarter_is_forgotten_when_its_time_is_up",
    ),
    Mutant(
        "-", "nobody purges what has expired", "worker/purger.py",
        "        await self._expire()\n",
        "",
        f"{MEMORY}::test_the_purger_takes_what_has_expired_and_leaves_the_rest",
    ),
    Mutant(
        "-", "a recall does not name its tenant", "worker/keeping.py",
        "WHERE tenant = $1 AND scope = $2",
        "WHERE $1::text <> '' AND scope = $2",
        f"{WALL}::test_where_it_does_not_stand_memory_works_and_the_doctor_says_so",
    ),
    Mutant(
        "-", "a purge does not name its tenant", "models/memory.py",
        "     WHERE tenant = $1 AND ($2::text IS NULL OR scope = $2) AND ($3",
        "     WHERE $1::text <> '' AND ($2::text IS NULL OR scope = $2) AND ($3",
        f"{WALL}::test_where_it_does_not_stand_memory_works_and_the_doctor_says_so",
    ),
    Mutant(
        "-", "a superuser stays one where it touches memory", "models/memory.py",
        "set_config('role', coalesce(({_USABLE}), current_setting('role')), true)",
        "coalesce(({_USABLE}), current_setting('role'))",
        f"{WALL}::test_a_query_that_forgets_the_tenant_sees_one_tenant_alone",
    ),
    Mutant(
        "-", "the owner of the table passes by its wall", SCHEMA,
        ", FORCE ROW LEVEL SECURITY",
        "",
        f"{WALL}::test_it_stands_for_every_login_that_may_take_on_the_role_or_is_bound_itself",
    ),
    Mutant(
        "-", "who purges sees what is still remembered", SCHEMA,
        " AND expires_at <= now())",
        ")",
        f"{WALL}::test_who_purges_sees_what_has_expired_and_writes_nothing",
    ),
    Mutant(
        "-", "a wall that does not stand is not told", "producer/doctor.py",
        "            found.append(_memory(await wall()))\n",
        "",
        f"{WALL}::test_where_it_does_not_stand_memory_works_and_the_doctor_says_so",
    ),
    Mutant(
        "P2", "a step and what it remembers are two transactions", "worker/keeping.py",
        "    async with hot().acquire() as connection, connection.transaction():\n        rows",
        "    async with hot().acquire() as connection:\n        rows",
        f"{MEMORY}::test_a_step_and_what_it_remembers_are_written_together_or_not_at_all",
    ),
    Mutant(
        "P3", "what stands is remembered again", "worker/keeping.py",
        "ON CONFLICT (run_id, step) DO NOTHING",
        "ON CONFLICT (run_id, step) DO UPDATE SET token = EXCLUDED.token",
        f"{MEMORY}::test_a_flush_repeated_after_a_lost_commit_knows_its_own_and_writes_nothing_again",
    ),
    Mutant(
        "P3", "a resumed run remembers anew", "worker/memory.py",
        "if record is not None and record.replay(digest, asked) is not None:",
        "if record is not None and False:",
        f"{MEMORY}::test_a_resumed_run_does_not_remember_a_second_time",
    ),
    Mutant(
        "P6", "in safe mode it is remembered on", "worker/keeping.py",
        "(SELECT scope FROM gate WHERE mode <> '{GateMode.OPEN}')",
        "(SELECT scope FROM gate WHERE false)",
        f"{MEMORY}::test_in_safe_mode_nothing_is_remembered_and_what_is_known_is_recalled",
    ),
    Mutant(
        "P6", "a policy's standing safe mode does not hold for memory", "worker/memory.py",
        "            await self._steps.gatekeeper.admit_memory(held)\n",
        "",
        f"{MEMORY}::test_a_worker_whose_policy_stands_in_safe_mode_remembers_nothing",
    ),
    Mutant(
        "P9", "what is remembered is trusted", "worker/labels/provenance.py",
        "if was is not None and was.trust is Trust.TRUSTED:",
        "if was is not None:",
        f"{MEMORY}::test_memory_launders_nothing",
    ),
    Mutant(
        "P9", "a remembered choice has no bits", "worker/labels/provenance.py",
        "return endorsed(place, sum(was.bits.values()),",
        "return endorsed(place, 0.0,",
        f"{MEMORY}::test_what_text_from_outside_chose_among_few_counts_its_bits_again",
    ),
    Mutant(
        "P9", "what a type has changed keeps its label", "worker/memory.py",
        "return bool(found(was, pointer, pointer) == found(now, pointer, pointer))",
        "return True",
        f"{MEMORY}::test_what_a_type_has_made_of_a_value_has_no_label_of_before",
    ),
    Mutant(
        "-", "a memory has no largest size", "worker/memory.py",
        "if len(written) > VALUE_BYTES:",
        "if False:",
        f"{MEMORY}::test_what_is_too_large_or_does_not_fit_ends_the_run_and_is_on_record",
    ),
    Mutant(
        "-", "what does not fit its type ends the run", "worker/memory.py",
        'log.warning("memory.unfit", step=step, kind=kind.__name__, told=faults(error))',
        "raise",
        f"{MEMORY}::test_what_does_not_fit_its_type_any_more_is_not_there",
    ),
    Mutant(
        "-", "a purge leaves no line", "models/memory.py",
        "        await audit.append(connection, who=who, act=audit.Act.MEMORY, about=about)\n",
        "",
        f"{MEMORY}::test_an_operator_lists_and_purges_by_scope_and_each_purge_is_in_the_audit",
    ),
)  # fmt: skip
