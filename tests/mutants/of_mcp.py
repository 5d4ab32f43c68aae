"""The guards around MCP servers, as in `catalogue`."""

from tests.mutants.mutant import Mutant

UNIT, SERVERS = "tests/unit/test_mcp.py", "tests/integration/test_mcp.py"
RAISE = "test_hints_only_raise_an_effect_unless_the_server_is_trusted"
EDITED = "test_a_lock_that_was_edited_past_its_rules_is_refused_with_a_sentence"
HOSTILE = "test_a_hostile_result_schema_makes_no_contract_and_is_fetched_from_nowhere"
OLDER = "test_a_server_of_an_older_protocol_is_refused_what_it_asks_and_heard_when_it_changes"
STATUS = "test_an_http_status_means_what_it_means_for_every_tool"

OF_MCP = (
    Mutant(
        "-", "an MCP tool that nobody spoke for is used", "tools/mcp/effect.py",
        "if word is None and not trusted:",
        "if False:",
        f"{UNIT}::{RAISE}",
    ),
    Mutant(
        "-", "what an MCP server says against itself does not count", "tools/mcp/effect.py",
        "if not trusted and _risk(raised.effect) > _risk(told.effect):",
        "if False:",
        f"{UNIT}::{RAISE}",
    ),
    Mutant(
        "P4", "an MCP tool is a WRITE though nobody says that repeats are harmless",
        "tools/mcp/effect.py",
        "if told.effect is Effect.WRITE and not harmless:",
        "if False:",
        f"{UNIT}::{RAISE}",
    ),
    Mutant(
        "-", "an MCP tool without a contract is used", "tools/mcp/pin.py",
        "if not usable:",
        "if False:",
        f"{UNIT}::test_a_tool_without_a_contract_is_for_review_only_until_an_operator_gives_one",
    ),
    Mutant(
        "-", "an effect edited into an MCP lock counts", "tools/mcp/lock.py",
        "if again.ruled != each.ruled:",
        "if False:",
        f"{UNIT}::{EDITED}",
    ),
    Mutant(
        "-", "a definition edited into an MCP lock counts", "tools/mcp/lock.py",
        "if again.sha256 != each.sha256:",
        "if False:",
        f"{UNIT}::{EDITED}",
    ),
    Mutant(
        "-", "an MCP lock holds a secret", "tools/mcp/lock.py",
        "if bad := [each for each in named if not re.fullmatch(_VARIABLE, each)]:",
        "if bad := []:",
        f"{UNIT}::{EDITED}",
    ),
    Mutant(
        "-", "the command or URL of an MCP lock holds a password", "tools/mcp/lock.py",
        'if "@" in parts.netloc or any(redacted(each) != each for each in self.command):',
        "if False:",
        f"{UNIT}::{EDITED}",
    ),
    Mutant(
        "-", "of a field that is twice in an MCP lock the other one counts", "tools/mcp/lock.py",
        "if len(found) < len(pairs):",
        "if False:",
        f"{UNIT}::test_a_field_that_is_there_twice_is_refused",
    ),
    Mutant(
        "-", "an MCP schema reads files", "tools/mcp/schema.py",
        "offline=True",
        "offline=False",
        f"{UNIT}::test_a_schema_reads_no_file_of_ours",
    ),
    Mutant(
        "-", "an MCP schema brings expressions that backtrack", "tools/mcp/schema.py",
        ", pattern_options=options",
        "",
        f"{UNIT}::{HOSTILE}",
    ),
    Mutant(
        "-", "an object within an MCP contract is open", "tools/mcp/schema.py",
        'return closed | {"additionalProperties": False} if alone else closed',
        "return closed",
        f"{UNIT}::test_a_contract_takes_what_its_schema_takes_and_no_field_more",
    ),
    Mutant(
        "-", "an MCP contract is not held against its schema", "tools/mcp/schema.py",
        "        if faults:\n",
        "        if False:\n",
        f"{UNIT}::test_a_contract_takes_what_its_schema_takes_and_no_field_more",
    ),
    Mutant(
        "-", "an MCP tool is used though its definition changed", "tools/mcp/server.py",
        "if why := self._shut.get(pin.tool):",
        'if why := "":',
        f"{SERVERS}::test_a_tool_that_changed_since_it_was_pinned_is_refused_until_the_lock_is_renewed",
    ),
    Mutant(
        "-", "of a tool that an MCP server lists twice one is pinned", "tools/mcp/listing.py",
        "if times[each.name] == 1 and (read",
        "if (read",
        f"{SERVERS}::{OLDER}",
    ),
    Mutant(
        "-", "an MCP server is used before what it offers is hashed", "tools/mcp/server.py",
        "        link = Link(self._lock, self._change)\n",
        "        link = self._link = Link(self._lock, self._change)\n",
        f"{SERVERS}::test_a_server_that_comes_back_as_another_is_looked_at_before_any_call",
    ),
    Mutant(
        "-", "an MCP server's word of a change is not heard", "tools/mcp/server.py",
        "        self._changes += 1\n",
        "        pass\n",
        f"{SERVERS}::test_a_tool_that_changes_while_we_are_connected_is_refused_from_then_on",
    ),
    Mutant(
        "-", "an MCP server is not looked at again", "tools/mcp/server.py",
        " or monotonic() - self._hashed_at > FRESH_S",
        "",
        f"{SERVERS}::test_a_change_that_nobody_told_of_is_seen_within_a_minute",
    ),
    Mutant(
        "P6", "a call to an MCP server leaves after its time", "tools/mcp/leaving.py",
        "        self.refuse_when_late()\n        if self.left:",
        "        if self.left:",
        f"{UNIT}::test_a_call_does_not_leave_after_its_time_nor_twice",
    ),
    Mutant(
        "P4", "a call to an MCP server is sent on to where it is redirected",
        "tools/mcp/leaving.py",
        "        if self.left:\n",
        "        if False:\n",
        f"{SERVERS}::{STATUS}",
    ),
    Mutant(
        "P4", "a call that reached an MCP server counts as not sent", "tools/mcp/leaving.py",
        "        self.left = True\n",
        "        pass\n",
        f"{SERVERS}::test_over_http_what_was_not_sent_did_nothing_and_what_was_is_in_doubt",
    ),
    Mutant(
        "P4", "an error of an MCP server proves that nothing happened", "tools/mcp/outcome.py",
        "(Ambiguous if its.writes and errors_are_doubt else Rejected)(told)",
        "Rejected(told)",
        f"{SERVERS}::test_an_error_of_a_write_is_a_doubt_unless_somebody_we_believe_says_it_did_nothing",
    ),
    Mutant(
        "-", "an error of an MCP server is a result", "tools/mcp/outcome.py",
        "if answer.is_error:",
        "if False:",
        f"{SERVERS}::test_an_error_of_a_read_ends_the_step_with_the_servers_words",
    ),
    Mutant(
        "-", "what an MCP server asks of us is a result", "tools/mcp/outcome.py",
        "if isinstance(answer, InputRequiredResult):",
        "if False:",
        f"{SERVERS}::test_what_a_server_asks_of_us_is_refused",
    ),
    Mutant(
        "-", "a result of an MCP server has any size", "tools/mcp/outcome.py",
        "if len(to_json(found)) > RESULT_LIMIT_BYTES:",
        "if False:",
        f"{SERVERS}::test_a_result_outside_its_contract_is_no_result",
    ),
    Mutant(
        "-", "a line of an MCP server is read to its end", "tools/mcp/stdio.py",
        "limit=LINE_LIMIT_BYTES",
        "limit=2**30",
        f"{SERVERS}::test_an_answer_without_end_is_not_read_to_its_end",
    ),
    Mutant(
        "-", "an answer of an MCP server is read to its end", "tools/mcp/wire.py",
        "if size > BODY_LIMIT_BYTES and self._its is not None:",
        "if False:",
        f"{SERVERS}::test_over_http_an_answer_without_end_is_not_read_either",
    ),
    Mutant(
        "-", "an MCP server gets our environment", "tools/mcp/stdio.py",
        "env=environment(named, os.environ)",
        "env={**os.environ, **named}",
        f"{SERVERS}::test_a_child_sees_none_of_our_secrets",
    ),
    Mutant(
        "P9", "a terminal obeys what an MCP server writes", "worker/commands/mcp_table.py",
        'c if c.isprintable() or c == "\\n" else f"\\\\u{ord(c):04x}" for c in text',
        "c for c in text",
        "tests/integration/test_mcp_commands.py::test_a_server_is_pinned_and_what_changed_is_shown",
    ),
)  # fmt: skip
