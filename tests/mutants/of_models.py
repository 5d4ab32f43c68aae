"""The guards around language models, as in `catalogue`."""

from tests.mutants.mutant import Mutant

MODELS, PRICES = "tests/integration/test_language_model.py", "tests/unit/test_prices.py"
TRIES = f"{MODELS}::test_what_may_work_later_is_one_request_a_try_each_with_its_own_reservation"
FINAL = f"{MODELS}::test_a_final_failure_ends_the_run_and_one_that_may_be_billed_is_booked_whole"
UNCOUNTED = f"{MODELS}::test_whoever_does_not_count_is_paid_the_whole_reservation"
NO_BUDGET = f"{MODELS}::test_a_budget_that_the_worst_case_would_break_lets_nothing_leave"
DEAD = f"{MODELS}::test_what_a_dead_worker_asked_is_booked_whole_and_reserved_anew"
FITS = f"{MODELS}::test_what_never_fits_gets_the_fallback_after_two_complaints"
FAILS = f"{MODELS}::test_an_endpoint_that_fails_thrice_is_asked_thrice_and_then_left_alone"

OF_MODELS = (
    Mutant(
        "P5", "the client library tries again by itself", "tools/llm/by_openai.py",
        ", max_retries=0,",
        ",",
        FAILS,
    ),
    Mutant(
        "P5", "Anthropic's library tries again by itself", "tools/llm/by_anthropic.py",
        ", max_retries=0,",
        ",",
        f"{MODELS}::test_anthropics_own_interface_is_the_same_to_a_run",
    ),
    Mutant(
        "P5", "a model's answer is not capped", "tools/llm/provider.py",
        "            max_tokens=self._endpoint.max_tokens,\n",
        "",
        f"{MODELS}::test_a_typed_answer_is_settled_with_what_it_cost",
    ),
    Mutant(
        "P5", "a prompt is not counted before it leaves", "tools/llm/language_model.py",
        "price(at).usd(tokens, at.max_tokens), tokens + at.max_tokens",
        "price(at).usd(0, at.max_tokens), at.max_tokens",
        f"{MODELS}::test_the_reservation_stands_while_the_endpoint_thinks",
    ),
    Mutant(
        "P5", "the tokens of a call are not reserved", "worker/purse.py",
        "self._held.reserve(usd, worst.tokens)",
        "self._held.reserve(usd)",
        NO_BUDGET,
    ),
    Mutant(
        "P5", "a model without a price is free", "tools/llm/price.py",
        "    if known is None or known.input_mtok is None or known.output_mtok is None:",
        '    if known is None:\n        return Price(lambda a, b: Decimal(a + b) * 0, "none")\n'
        "    if known.input_mtok is None:",
        f"{MODELS}::test_an_unpriced_model_is_refused_unless_it_is_free_on_purpose",
    ),
    Mutant(
        "P5", "a try of a model that may have been billed is free", "tools/llm/language_model.py",
        "used = worst if came.billed else _ZERO",
        "used = _ZERO",
        TRIES,
    ),
    Mutant(
        "P5", "a model's answer that is cut off by its deadline is free",
        "tools/llm/language_model.py",
        "        _book(call, worst)\n        raise\n",
        "        raise\n",
        f"{MODELS}::test_the_policys_own_deadline_books_the_whole_reservation",
    ),
    Mutant(
        "P5", "an endpoint that does not count is free", "tools/llm/language_model.py",
        "    if not came.counted:\n        return worst\n",
        "",
        UNCOUNTED,
    ),
    Mutant(
        "P5", "what a dead worker asked a model is not booked", "worker/purse.py",
        "            order.lost(self.reserved)",
        "            pass",
        DEAD,
    ),
    Mutant(
        "P5", "a model is asked again under the reservation of a lost try", "worker/purse.py",
        "worst.usd if self._each_anew or self.reserved == NOTHING else NOTHING",
        "worst.usd if self.reserved == NOTHING else NOTHING",
        DEAD,
    ),
    Mutant(
        "-", "a model's endpoint may send us elsewhere", "tools/llm/provider.py",
        "follow_redirects=False",
        "follow_redirects=True",
        FINAL,
    ),
    Mutant(
        "-", "headers of the environment go to a model's endpoint", "tools/llm/transport.py",
        "for name in {*request.headers} - _HEADERS:",
        "for name in {*request.headers} - {*request.headers}:",
        f"{MODELS}::test_nothing_of_the_environment_goes_along",
    ),
    Mutant(
        "-", "a model's answer may be of any length", "tools/llm/transport.py",
        "            if left < 0:",
        "            if False:",
        TRIES,
    ),
    Mutant(
        "-", "a model's key is told", "tools/llm/failure.py",
        'told = f"{name} answered {status}: {excerpt(_said(error), [secret])}."',
        'told = f"{name} answered {status}: {_said(error)}."',
        FINAL,
    ),
    Mutant(
        "-", "what a model says is coerced", "worker/asking.py",
        "bare(said.text), strict=True)",
        "bare(said.text))",
        FITS,
    ),
    Mutant(
        "-", "a model's refused key is kept", "tools/llm/provider.py",
        "                self.key_is_good = False\n",
        "                pass\n",
        f"{MODELS}::test_a_key_that_was_refused_is_read_again",
    ),
    Mutant(
        "-", "transcripts are kept for ever", "worker/purger.py",
        "        await transcript.clear(transcripts_s=self._settings.transcripts_s)\n",
        "",
        f"{MODELS}::test_transcripts_are_kept_for_a_time_of_their_own",
    ),
    Mutant(
        "-", "a model is asked again without end", "worker/asking.py",
        "range(1, self._model.reasks + 2)",
        "range(1, 6)",
        FITS,
    ),
    Mutant(
        "-", "a refusal of a model is asked again", "worker/asking.py",
        "if said.finish is not Finish.STOP:",
        "if False:",
        f"{MODELS}::test_a_refusal_or_a_cut_answer_is_paid_and_not_asked_again",
    ),
    Mutant(
        "-", "the marker around text from outside is known", "worker/wording.py",
        "{token_hex(8)}",
        "data",
        f"{MODELS}::test_text_from_outside_stands_between_markers_that_nobody_can_know",
    ),
    Mutant(
        "-", "transcripts hold secrets", "tools/llm/language_model.py",
        "response=to_json(call.redact(said))",
        "response=to_json(said)",
        f"{MODELS}::test_a_transcript_has_all_but_secrets_and_only_operators_see_it",
    ),
    Mutant(
        "-", "how a question is worded is part of what a replay repeats", "tools/llm/prompt.py",
        "instructions: str = Field(exclude=True, repr=False)",
        "instructions: str = Field(repr=False)",
        f"{MODELS}::test_a_run_that_left_between_two_questions_does_not_repeat_the_first",
    ),
)  # fmt: skip
