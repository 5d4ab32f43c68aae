"""The guards of what leaves over HTTP, and of the secrets that go with it."""

from tests.mutants.mutant import Mutant

EGRESS, CONNECTION = "tests/integration/test_egress.py", "tests/integration/test_connection.py"
ADDRESS, VEIL = "tests/unit/test_address.py", "tests/unit/test_veil.py"
POLICY = "tests/unit/test_policy_of_egress.py"

OF_EGRESS = (
    Mutant(
        "-", "a socket is opened to any address", "tools/border.py",
        "    _admit(address[0])\n",
        "",
        f"{EGRESS}::test_a_name_that_first_leads_outside_and_then_inside_is_judged_each_time",
    ),
    Mutant(
        "-", "a kept connection is lent to whoever asks for its host", "tools/border.py",
        "            _admit(peer[0])\n",
        "            pass\n",
        f"{EGRESS}::test_a_connection_kept_for_an_operators_target_is_not_lent_to_a_strangers_url",
    ),
    Mutant(
        "-", "a request that nobody has judged goes anywhere", "tools/border.py",
        'raise OSError(errno.EACCES, "nobody has said whom this request may reach")',
        "return",
        f"{EGRESS}::test_a_request_that_nobody_has_judged_reaches_nobody",
    ),
    Mutant(
        "-", "an operator's target may be a metadata service", "tools/border.py",
        "(self.inside and place.where is Where.INSIDE)",
        "self.inside",
        f"{EGRESS}::test_an_operators_target_may_be_private_but_not_a_metadata_service",
    ),
    Mutant(
        "-", "a number that the system reads as an address is a name", "tools/border.py",
        "if not _NAME.fullmatch(host) or _is_number(host):",
        "if not _NAME.fullmatch(host):",
        f"{EGRESS}::test_each_redirect_is_judged_like_the_first",
    ),
    Mutant(
        "-", "an IPv4 address within an IPv6 one is not looked for", "config/address.py",
        "if plain in _MAPPED or plain in _NAT64:",
        "if False:",
        f"{ADDRESS}::test_an_ipv4_address_within_an_ipv6_one_leads_where_it_leads_itself",
    ),
    Mutant(
        "-", "what nobody was given is outside", "config/address.py",
        "address not in _HANDED_OUT",
        "False",
        f"{ADDRESS}::test_an_ipv6_address_is_outside_only_where_it_was_handed_out",
    ),
    Mutant(
        "-", "a metadata service is merely private", "config/address.py",
        '        ("100.100.100.200/32", Where.NOWHERE, "a cloud\'s metadata service"),\n',
        "",
        f"{ADDRESS}::test_an_address_leads_where_the_registries_say",
    ),
    Mutant(
        "-", "a carrier's shared range is outside", "config/address.py",
        '        ("100.64.0.0/10", Where.INSIDE, "shared by a carrier\'s customers"),\n',
        "",
        f"{ADDRESS}::test_an_address_leads_where_the_registries_say",
    ),
    Mutant(
        "-", "a tool may read any host", "tools/egress.py",
        "if not reach.admits(host, port):",
        "if False:",
        f"{EGRESS}::test_a_place_that_the_policy_does_not_name_for_the_tool_is_not_asked",
    ),
    Mutant(
        "-", "what holds for one tool holds for all", "config/policy_egress.py",
        "if fnmatchcase(tool, pattern)\n",
        "",
        f"{EGRESS}::test_a_run_reads_only_what_the_policy_lets_its_tool_reach",
    ),
    Mutant(
        "-", "tools are not told whom they may reach", "worker/order.py",
        "            egress=self.ruling.egress,\n",
        "",
        f"{EGRESS}::test_a_run_reads_only_what_the_policy_lets_its_tool_reach",
    ),
    Mutant(
        "-", "a domain's neighbour is below it", "config/policy_egress.py",
        "host.endswith(self.host[1:])",
        "host.endswith(self.host[2:])",
        f"{POLICY}::test_a_tool_reaches_the_hosts_of_all_its_patterns_and_no_other",
    ),
    Mutant(
        "-", "any port of a host may be reached", "config/policy_egress.py",
        "if port not in _USUAL_PORTS if self.port is None else port != self.port:",
        "if False:",
        f"{POLICY}::test_a_tool_reaches_the_hosts_of_all_its_patterns_and_no_other",
    ),
    Mutant(
        "-", "every name may lead inside", "config/policy_egress.py",
        'if _network(written) is None and site(written).host == "*":',
        "if False:",
        f"{POLICY}::test_what_no_policy_says_of_egress_is_refused_with_its_line",
    ),
    Mutant(
        "-", "redirects are followed unjudged", "tools/egress.py",
        "allow_redirects=False,",
        "allow_redirects=True,",
        f"{EGRESS}::test_each_redirect_is_judged_like_the_first",
    ),
    Mutant(
        "-", "a redirect may leave encryption behind", "tools/egress.py",
        'if here.scheme == "https" and there.scheme == "http":',
        "if False:",
        f"{EGRESS}::test_from_an_encrypted_page_no_redirect_leads_to_one_that_is_not",
    ),
    Mutant(
        "-", "redirects have no end", "tools/egress.py",
        "for _ in range(REDIRECTS + 1):",
        "while True:",
        f"{EGRESS}::test_redirects_come_to_an_end",
    ),
    Mutant(
        "-", "an answer is read to its end, however long", "tools/line.py",
        "            if len(raw) > most:\n",
        "            if False:\n",
        f"{EGRESS}::test_an_answer_without_end_is_cut_off_at_the_policys_limit",
    ),
    Mutant(
        "-", "a page is read with whatever codec it names", "tools/egress.py",
        'charset if _CHARSETS.fullmatch(charset) else "utf-8"',
        'charset or "utf-8"',
        f"{EGRESS}::test_a_page_is_text_or_json_as_it_was_declared_and_nothing_else",
    ),
    Mutant(
        "-", "the policy's time is not kept", "tools/line.py",
        "return call.deadline if most_s is None else min(call.deadline, monotonic() + most_s)",
        "return call.deadline",
        f"{EGRESS}::test_a_trickle_is_cut_off_when_the_policys_time_is_up",
    ),
    Mutant(
        "-", "each redirect has the policy's time anew", "tools/egress.py",
        "passport=_passport(url, call), until=over_at,",
        "passport=_passport(url, call), until=until(call),",
        f"{EGRESS}::test_the_policys_time_is_for_all_redirects_together",
    ),
    Mutant(
        "-", "proxies of the environment are used", "tools/line.py",
        "connector=Border(keepalive_timeout=KEEP_ALIVE_S),",
        "connector=Border(keepalive_timeout=KEEP_ALIVE_S), trust_env=True,",
        f"{EGRESS}::test_a_proxy_that_the_environment_names_is_not_used",
    ),
    Mutant(
        "-", "a call that the policy refused speaks for its tool", "worker/turnstile.py",
        "_SAYS_NOTHING = {StopReason.TOOL_AUTH_FAILED, StopReason.TOOL_DENIED}",
        "_SAYS_NOTHING = {StopReason.TOOL_AUTH_FAILED}",
        f"{EGRESS}::test_what_the_policy_refuses_says_nothing_of_a_tools_health",
    ),
    Mutant(
        "-", "a tenant finds another's connection", "models/connection.py",
        "tenant IN ($1, '{EVERYBODY}')",
        "$1::text IS NOT NULL",
        f"{CONNECTION}::test_a_tenant_does_not_find_what_is_anothers",
    ),
    Mutant(
        "-", "everybody's connection goes before a tenant's own", "models/connection.py",
        "ORDER BY tenant = '{EVERYBODY}' LIMIT 1",
        "ORDER BY tenant <> '{EVERYBODY}' LIMIT 1",
        f"{CONNECTION}::test_two_tenants_tickets_go_to_two_desks_with_two_logins_and_the_others_to_a_third",
    ),
    Mutant(
        "-", "what was found for one tenant is lent to the next", "tools/connection.py",
        "{}), (call.tenant, name)",
        '{}), ("", name)',
        f"{CONNECTION}::test_one_target_that_two_tenants_share_is_told_each_ones_login_alone",
    ),
    Mutant(
        "-", "whoever looks for a target waits as if the write had left", "tools/connection.py",
        "max(min(call.deadline, call.send_before) - monotonic(), 0.0)",
        "60",
        f"{CONNECTION}::test_a_write_whose_target_nobody_could_name_in_time_has_not_left",
    ),
    Mutant(
        "-", "every connection may be private", "tools/connection.py",
        "login=login, private=target.private)",
        "login=login)",
        f"{CONNECTION}::test_a_target_that_may_not_be_private_is_not_reached_where_it_is",
    ),
    Mutant(
        "-", "a secret that is not there is an empty one", "tools/secret.py",
        'raise NoSecret(f"the secret {reference} {lacking}, or is empty")',
        'value = ""',
        f"{CONNECTION}::test_a_secret_that_is_not_there_fails_the_call_by_the_name_of_its_reference",
    ),
    Mutant(
        "-", "a secret may be typed in place of its reference", "models/connection.py",
        "if target.secret and not _REFERENCE.fullmatch(target.secret):",
        "if False:",
        f"{CONNECTION}::test_a_secret_that_is_typed_in_place_of_its_reference_is_not_repeated",
    ),
    Mutant(
        "-", "the table takes a secret", "models/migrations/versions/0009_connections.py",
        "CHECK (secret = '' OR secret ~ '^(env:|file:/)')",
        "CHECK (true)",
        f"{CONNECTION}::test_the_database_takes_no_secret_in_place_of_a_reference",
    ),
    Mutant(
        "-", "a connection is taken away unseen", "models/connection.py",
        'raise ValueError(f"{tenant!r} has no connection named {name!r}: `sluice connections`")\n'
        "        await audit.append(connection, who=who, act=audit.Act.CONNECTION, about=about)\n",
        'raise ValueError(f"{tenant!r} has no connection named {name!r}: `sluice connections`")\n',
        f"{CONNECTION}::test_connections_are_set_listed_and_removed_and_each_is_in_the_audit",
    ),
    Mutant(
        "-", "an error repeats what a target said of our login", "tools/http.py",
        "return excerpt(self._veil.over(text))",
        "return excerpt(text)",
        f"{CONNECTION}::test_no_error_or_result_of_a_tool_holds_what_a_target_repeats_of_our_login",
    ),
    Mutant(
        "-", "a traceback repeats it", "tools/http.py",
        "raise told from None",
        "raise told from error",
        f"{CONNECTION}::test_no_error_or_result_of_a_tool_holds_what_a_target_repeats_of_our_login",
    ),
    Mutant(
        "-", "a result repeats it", "tools/http.py",
        "self._veil.without(orjson.loads(raw), raw)",
        "orjson.loads(raw)",
        f"{CONNECTION}::test_no_error_or_result_of_a_tool_holds_what_a_target_repeats_of_our_login",
    ),
    Mutant(
        "-", "an answer's headers repeat it", "tools/http.py",
        "(name, self._veil.over(v))",
        "(name, v)",
        f"{CONNECTION}::test_neither_do_the_headers_of_an_answer",
    ),
    Mutant(
        "-", "a conflict's sentence repeats it", "tools/tickets/roundup.py",
        "told = self._wire.excerpt(said)",
        "told = said[:160]",
        f"{CONNECTION}::test_no_error_or_result_of_a_tool_holds_what_a_target_repeats_of_our_login",
    ),
    Mutant(
        "-", "half a secret is shown", "tools/veil.py",
        "for first, last in self._runs(_letters(text)):",
        "for first, last in ():",
        f"{VEIL}::test_no_part_of_it_is_shown_however_it_is_spelt",
    ),
)  # fmt: skip
