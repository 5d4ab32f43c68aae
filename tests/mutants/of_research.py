"""The guards of a research, and of a triage with a model beside it, as in `catalogue`."""

from tests.mutants.mutant import Mutant

RESEARCH = "tests/integration/test_research.py"
TRIAGE = "tests/integration/test_triage_assistant.py"
INJECTED = f"{RESEARCH}::test_an_injected_page_cannot_have_another_address_read"
ENDS = f"{RESEARCH}::test_whatever_ends_a_research_what_was_found_is_there_and_the_budget_is_kept"

OF_RESEARCH = (
    Mutant(
        "P9", "a model says what no search has found", "worker/agents/agent.py",
        "if label.trust is Trust.UNTRUSTED:",
        "if False:",
        INJECTED,
    ),
    Mutant(
        "P9", "that a model said what was not found nobody hears", "worker/agents/act.py",
        "        await self._steps.refused(step, offer.tool.name, said)\n        return Complaint",
        "        return Complaint",
        INJECTED,
    ),
    Mutant(
        "P9", "a page is read at any address", "tools/page.py",
        '"/url": Trust.ENDORSED',
        '"/url": Trust.UNTRUSTED',
        f"{RESEARCH}::test_a_page_whose_address_comes_from_nowhere_needs_a_person",
    ),
    Mutant(
        "P9", "a search engine lists what is ours", "tools/search.py",
        'if not url.startswith(("https://", "http://")):',
        "if False:",
        f"{RESEARCH}::test_pages_of_the_web_are_found_read_and_cited",
    ),
    Mutant(
        "-", "a claim needs no source that was read", "worker/pipelines/research.py",
        "claims = supported(told.claims, findings)",
        "claims = list(told.claims)",
        f"{RESEARCH}::test_a_claim_that_names_no_finding_is_left_out",
    ),
    Mutant(
        "-", "a research has no last page", "worker/pipelines/research.py",
        "if self._pages >= self._asked.max_sources:",
        "if False:",
        f"{RESEARCH}::test_no_more_pages_are_read_than_the_client_wants",
    ),
    Mutant(
        "-", "the same in other words is progress", "worker/pipelines/research.py",
        "if self._stale >= STALE:",
        "if False:",
        ENDS,
    ),
    Mutant(
        "-", "what was read is not kept", "worker/pipelines/research.py",
        "            await self._flow.partial(",
        "            str(",
        ENDS,
    ),
    Mutant(
        "P9", "a second opinion settles what the first did not say",
        "worker/pipelines/ticket_triage_assistant.py",
        "return verdict.in_scope and same and",
        "return verdict.in_scope and",
        f"{TRIAGE}::test_who_does_not_agree_leaves_it_to_a_person_and_changes_nothing",
    ),
    Mutant(
        "P9", "a bare guess can be confirmed", "worker/pipelines/ticket_triage_assistant.py",
        " and verdict.confidence >= verdict.bar / 2",
        "",
        f"{TRIAGE}::test_who_agrees_with_a_bare_guess_settles_nothing",
    ),
    Mutant(
        "P9", "a model's draft may say anything", "worker/pipelines/ticket_triage_assistant.py",
        "    after=(tame,),\n",
        "",
        f"{TRIAGE}::test_a_ticket_that_says_what_to_answer_moves_neither_queue_nor_priority",
    ),
    Mutant(
        "-", "a reply that a person has approved is written anew",
        "worker/pipelines/ticket_triage_v2.py",
        "if reply == proposal.reply and said != (",
        "if reply == proposal.reply or said == (",
        f"{TRIAGE}::test_who_does_not_agree_leaves_it_to_a_person_and_changes_nothing",
    ),
)  # fmt: skip
