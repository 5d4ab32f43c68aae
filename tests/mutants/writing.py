"""What stands between an author's mistake and a fleet: sources, and `sluice check`."""

from tests.mutants.mutant import Mutant

SOURCES, CHECK = "tests/unit/test_sources.py", "tests/unit/test_check.py"
COMMANDS = "tests/unit/test_author_commands.py"
_RULES = f"{CHECK}::test_each_rule_names_its_lines_and_no_others"

OF_WRITING = (
    Mutant(
        "-", "a package that cannot be used ends the worker", "worker/sources.py",
        "except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever somebody's package",
        "except ZeroDivisionError as error:  # whatever somebody's package",
        f"{SOURCES}::test_a_broken_package_is_left_out_and_told_and_the_worker_goes_on",
    ),
    Mutant(
        "-", "a package is left out in silence", "worker/cli.py",
        "if not each.asked:",
        "if False:",
        f"{SOURCES}::test_a_broken_package_is_left_out_and_told_and_the_worker_goes_on",
    ),
    Mutant(
        "-", "of two pipelines of one name the first one wins", "worker/sources.py",
        "if self.pipelines.setdefault(key, each) is not each:",
        "if self.pipelines.setdefault(key, each) is None:",
        f"{SOURCES}::test_two_pipelines_of_one_name_are_no_catalogue_and_both_are_named",
    ),
    Mutant(
        "-", "a package may take the name of another's pipeline", "worker/sources.py",
        "self.broken.append(Broken(source, str(error), _file(holder)))",
        "self.broken.append(Broken(source, str(error), _file(holder), asked))",
        f"{SOURCES}::test_a_package_that_takes_the_name_of_another_pipeline_stops_the_worker",
    ),
    Mutant(
        "-", "a folder of the author's stands in for ours", "worker/sources.py",
        "sys.path.append(here)",
        "sys.path.insert(0, here)",
        f"{SOURCES}::test_a_module_in_the_working_folder_is_found_and_stands_in_for_none_of_ours",
    ),
    Mutant(
        "-", "a clock in a pipeline is not seen", "worker/check/replay.py",
        "if rule is None or (node.lineno, rule[0]) in seen:",
        "if True:",
        _RULES,
    ),
    Mutant(
        "-", "the functions that a pipeline uses are not looked at", "worker/check/script.py",
        "        todo.extend(_named(part))\n",
        "",
        _RULES,
    ),
    Mutant(
        "-", "a step of the same name is not seen", "worker/check/names.py",
        "if before is not verb and not _apart(part, before, verb):",
        "if False:",
        _RULES,
    ),
    Mutant(
        "P9", "a plain value for a trusted argument is not seen", "worker/check/calls.py",
        "if needed > Trust.UNTRUSTED and is_plain(part, value, taint):",
        "if False:",
        _RULES,
    ),
    Mutant(
        "P9", "input in a constant is not seen", "worker/check/calls.py",
        "if value is None or not (how := taint.of(value)):",
        'if value is None or (how := ""):',
        _RULES,
    ),
    Mutant(
        "-", "what the policy denies is not said before it runs", "worker/check/declared.py",
        "        if ruling.denied:",
        "if False:",
        f"{CHECK}::test_what_the_policy_denies_or_shortens_is_said",
    ),
    Mutant(
        "-", "errors end a check with 0", "worker/commands/check.py",
        "if any(each.severity is Severity.ERROR for each in told):",
        "if False:",
        f"{COMMANDS}::test_check_ends_with_1_on_errors_and_with_0_on_warnings",
    ),
)  # fmt: skip
