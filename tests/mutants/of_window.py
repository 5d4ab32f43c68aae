"""The guards of what an agent is shown, as in `catalogue`."""

from tests.mutants.mutant import Mutant

WINDOW, UNIT = "tests/integration/test_window.py", "tests/unit/test_window.py"
POISONED = (
    f"{WINDOW}::test_of_a_poisoned_context_the_goal_survives_and_the_injected_call_is_not_made"
)
LONG = f"{WINDOW}::test_a_long_run_stays_within_its_context_and_keeps_its_goal_when_its_worker_dies"
SUMMARIES = f"{WINDOW}::test_a_model_that_makes_no_summary_is_asked_a_bounded_number_of_times"
FITS = f"{UNIT}::test_whatever_comes_the_goal_is_shown_and_no_more_than_fits"
LEAF = f"{UNIT}::test_a_leaf_enters_while_it_is_short_or_its_type_bounds_it"
LOOKS = f"{WINDOW}::test_nothing_but_what_was_withheld_is_looked_into"

SUMMED_THERE = (
    f"{WINDOW}::test_a_summary_that_was_made_is_made_there_whenever_it_would_be_due_today"
)
LOOKED_THERE = (
    f"{WINDOW}::test_a_look_that_was_taken_or_refused_is_so_again_whatever_is_withheld_today"
)

OF_WINDOW = (
    Mutant(
        "-", "an agent's goal is not pinned", "worker/agents/agent.py",
        "        goal=view.goal,\n",
        '        goal="" if view.history else view.goal,\n',
        POISONED,
    ),
    Mutant(
        "-", "a summary is asked for without the goal", "worker/agents/window.py",
        "asked(view.instructions, view.goal, view.summary_bytes)",
        'asked(view.instructions, "", view.summary_bytes)',
        LONG,
    ),
    Mutant(
        "-", "long texts enter an agent's context", "worker/agents/withheld.py",
        "short = not isinstance(leaf, str) or len(leaf) <= self._chars",
        "short = True",
        POISONED,
    ),
    Mutant(
        "-", "lists of any length enter an agent's context", "worker/agents/withheld.py",
        "kept = list(zip(written, values, strict=True))[: self._items]",
        "kept = list(zip(written, values, strict=True))",
        f"{UNIT}::test_of_long_lists_and_maps_the_first_members_enter_and_no_long_name",
    ),
    Mutant(
        "-", "long names of a map enter an agent's context", "worker/agents/withheld.py",
        "if len(n) <= self._chars][: self._items]",
        "][: self._items]",
        POISONED,
    ),
    Mutant(
        "-", "what no contract declares enters an agent's context", "worker/agents/withheld.py",
        "declared = written.keys() - (value.__pydantic_extra__ or {}).keys()",
        "declared = written.keys()",
        POISONED,
    ),
    Mutant(
        "-", "what a type bounds is withheld", "worker/agents/withheld.py",
        "return short or (self._model is not None and capacity(self._model, at) < INFINITE)",
        "return short",
        LEAF,
    ),
    Mutant(
        "-", "one entry may fill an agent's context", "worker/agents/window.py",
        "if part in entry and _size(entry) > most:",
        "if False:",
        FITS,
    ),
    Mutant(
        "-", "an agent's context is not counted", "worker/agents/window.py",
        "        while self._form.tokens(now := self._view(self._shown(), turns_left)) > (\n"
        "            self._agent.context_tokens\n        ):",
        "        while self._form.tokens(now := self._view(self._shown(), turns_left)) < 0:",
        FITS,
    ),
    Mutant(
        "-", "what is pinned is not counted", "worker/agents/window.py",
        "        if pinned > agent.context_tokens:",
        "        if False:",
        f"{WINDOW}::test_what_is_pinned_and_does_not_fit_ends_the_run_before_anything_is_sent",
    ),
    Mutant(
        "-", "the question for a summary is not counted", "worker/agents/window.py",
        "while many and self._summing.tokens(self._ask(self._shown(many))) > most:",
        "while False:",
        FITS,
    ),
    Mutant(
        "-", "history is never summed up", "worker/agents/window.py",
        "        if len(self._entries) >= self._agent.summarise_every:",
        "        if False:",
        FITS,
    ),
    Mutant(
        "-", "a summary may be of any length", "worker/agents/window.py",
        'if _size({"summary": document}) <= self._share:',
        "if True:",
        SUMMARIES,
    ),
    Mutant(
        "-", "a summary is asked for again without end", "worker/agents/window.py",
        "for round_ in range(1, self._agent.mistakes + 2):",
        "for round_ in range(1, 9):",
        SUMMARIES,
    ),
    Mutant(
        "-", "a replay is held to what was shown", "worker/agents/window.py",
        '"sha256": self._digest.hex()}',
        '"sha256": self._digest.hex(), "shown": self._shown()}',
        f"{WINDOW}::test_another_size_of_the_window_breaks_no_run_that_is_under_way",
    ),
    Mutant(
        "P3", "a resumed run sums up when it would be due today", "worker/agents/window.py",
        "        if has_said(self._voice.trail, saying):",
        "        if False:",
        SUMMED_THERE,
    ),
    Mutant(
        "P3", "a resumed run passes a summary over that is not due today",
        "worker/agents/trail.py",
        "    return summed is not None and (",
        "    return False and summed is not None and (",
        SUMMED_THERE,
    ),
    Mutant(
        "P3", "a look that was taken is refused by another window", "worker/agents/act.py",
        "            if went:\n                return None\n",
        "",
        LOOKED_THERE,
    ),
    Mutant(
        "P3", "a look that was refused is taken by another window", "worker/agents/act.py",
        "self._window.places if went is None else []",
        "self._window.places",
        LOOKED_THERE,
    ),
    Mutant(
        "P3", "what a model was told may be is part of what a replay repeats",
        "worker/agents/window.py",
        "replace(each, allowed=None).document()",
        "replace(each).document()",
        f"{UNIT}::test_which_question_it_is_does_not_depend_on_what_is_shown_of_the_history",
    ),
    Mutant(
        "P9", "whatever the run has come to may be looked into", "worker/agents/extract.py",
        "            if place in places:\n",
        "            if True:\n",
        LOOKS,
    ),
    Mutant(
        "P9", "a text that is looked into is shown to the agent", "worker/agents/act.py",
        "return await self._decide(place, offer.decision, text=text)",
        "await self._decide(place, offer.decision, text=text)\n"
        "        return offer.takes(place=text[:900])",
        f"{WINDOW}::test_what_was_withheld_is_looked_into_in_a_context_of_its_own",
    ),
    Mutant(
        "-", "names that an answer made up stand outside the markers", "worker/wording.py",
        'wrong = f"{self._mark}\\n{to_json(complaints).decode()}\\n{self._mark}"',
        "wrong = to_json(complaints).decode()",
        "tests/integration/test_language_model.py"
        "::test_a_name_that_an_answer_made_up_is_told_back_between_the_markers",
    ),
)  # fmt: skip
