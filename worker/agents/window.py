"""A window: what an agent is shown, counted before it is sent. It owns the agent's history.

Goal, instructions, tools and schemas are pinned: they are in every prompt, whole. Of what came
from outside the declared fields enter, and of these what is short. After some steps, or when the
next prompt would be too large, a typed summary takes the place of the history.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from pydantic_core import to_json

from models.run import StopReason
from worker.agents.agent import Agent, View
from worker.agents.complaint import Advice, Complaint
from worker.agents.summary import asked
from worker.agents.trail import has_said, was_summed
from worker.agents.voice import TOO_LARGE, Form, Voice
from worker.agents.withheld import Result, Sieve
from worker.labels.declared import schema_of
from worker.outcome import Stop

T = TypeVar("T", bound=BaseModel)
_SHARE = 4
"""No entry, and no summary, takes more than this part of what the pinned parts leave."""
_FINEST = 16
"""A result that is too large as a whole has its texts and lists cut down so far before it is
left out."""
_CUT = {TOO_LARGE, "length"}


class Window(Generic[T]):
    """One agent's, in one run; the same on every replay."""

    def __init__(
        self, name: str, agent: Agent[T], goal: str, *, tools: Sequence[dict[str, Any]],
        form: Form[Any], voice: Voice,
    ) -> None:  # fmt: skip
        """`form`: what the agent is asked for in each turn.

        Raises:
            Stop: `token_budget`: what is pinned does not fit, whatever else is left out.
        """
        self._name, self._agent, self._goal = name, agent, goal
        self._tools = list(tools)
        self._form, self._voice = form, voice
        self._sieve = Sieve(leaf_chars=agent.leaf_chars, list_items=agent.list_items)
        self._summing = Form[BaseModel](agent.summary, _worded)
        self._summary: dict[str, Any] | None = None
        self._summaries = 0
        self._entries: list[dict[str, Any]] = []
        self._count, self._digest = 0, b""
        self._share = agent.context_tokens
        pinned = max(form.tokens(self._view([], agent.turns)), self._summing.tokens(self._ask([])))
        if pinned > agent.context_tokens:
            told = f"what is pinned for {agent.name} alone may be {pinned:,} tokens"
            raise _too_large(agent, f"{told}: offer fewer tools, or say less")
        self._share = (agent.context_tokens - pinned) // _SHARE

    @property
    def put(self) -> dict[str, Any]:
        """Which question is next: by all that led to it, not by what is shown of that."""
        history = {"entries": self._count, "sha256": self._digest.hex()}
        return {"agent": self._agent.name, "goal": self._goal, "history": history}

    @property
    def places(self) -> list[str]:
        """What was withheld so far, the latest last."""
        return list(self._sieve.places)

    def came(self, called: dict[str, Any], result: BaseModel, step: str) -> None:
        """Add a call, and what came of it as `step`."""
        self._note(called | {"result": result.model_dump(mode="json")})
        came = Result(result, step)
        self._entries.append(self._cut(self._sieve.said(called), came, self._share))

    def planned(self, parts: Sequence[tuple[dict[str, Any], Result | None]]) -> None:
        """Add the calls of one plan, each with its result or with what is said in place of one."""
        self._note({
            "plan": [
                said | ({"result": came.value.model_dump(mode="json")} if came else {})
                for said, came in parts
            ]
        })  # fmt: skip
        share = self._share // max(len(parts), 1)
        shown = [self._cut(self._sieve.said(said), came, share) for said, came in parts]
        self._entries.append(self._cut({"plan": shown}, None, self._share))

    def told(self, called: dict[str, Any], complaints: Sequence[Complaint]) -> None:
        """Add what was called, and why nothing came of it."""
        entry = called | {"complaints": [each.document() for each in complaints]}
        # What would be allowed is wording: which texts are withheld, a setting says.
        told = [replace(each, allowed=None).document() for each in complaints]
        self._note(called | {"complaints": told})
        self._entries.append(self._cut(self._sieve.said(entry), None, self._share))

    async def view(self, turns_left: int, saying: str = "") -> View:
        """What is shown now. Makes room for it first, where there is none.

        `saying`: the step that is asked. What is on record is not sent again, so it needs no room,
        and a summary was made before it or was not.

        Raises:
            Stop: `token_budget`: there is no room. `model_output_invalid`: no summary fits.
        """
        while was_summed(self._voice.trail, f"{self._name}/summary-{self._summaries + 1}", saying):
            await self._summarise()
        if has_said(self._voice.trail, saying):
            return self._view(self._shown(), turns_left)
        if len(self._entries) >= self._agent.summarise_every:
            await self._summarise()
        while self._form.tokens(now := self._view(self._shown(), turns_left)) > (
            self._agent.context_tokens
        ):
            await self._summarise()
        return now

    def _note(self, entry: dict[str, Any]) -> None:
        self._count += 1
        self._digest = hashlib.sha256(self._digest + to_json(entry)).digest()

    def _cut(self, said: dict[str, Any], came: Result | None, most: int) -> dict[str, Any]:
        """An entry that fills no more than its share: its result cut finer, then its largest parts
        left out."""
        entry, finer = said, 1
        while came and finer <= _FINEST:
            entry = said | {"result": self._sieve.result(came, finer)}
            if _size(entry) <= most:
                break
            finer *= 4
        for part in ("result", "arguments", "complaints", "plan"):
            if part in entry and _size(entry) > most:
                place = came.step if came and part == "result" else None
                entry = entry | {part: self._sieve.whole(entry[part], place)}
        return entry

    def _shown(self, entries: int | None = None) -> list[dict[str, Any]]:
        before = [] if self._summary is None else [{"summary": self._summary}]
        return before + self._entries[:entries]

    def _view(self, history: list[dict[str, Any]], turns_left: int) -> View:
        return View(
            instructions=self._agent.instructions,
            goal=self._goal,
            tools=self._tools,
            answer=schema_of(self._agent.answer),
            history=history,
            turns_left=turns_left,
        )

    def _ask(self, history: list[dict[str, Any]]) -> View:
        """What is shown for a summary."""
        return View(
            instructions=self._agent.instructions,
            goal=self._goal,
            tools=[],
            answer=schema_of(self._agent.summary),
            history=history,
            turns_left=0,
            summary_bytes=self._most,
        )

    @property
    def _most(self) -> int:
        """Bytes of a summary as its model writes it: it is shown with room between its lines."""
        return self._share * 3 // 4

    async def _summarise(self) -> None:
        """Put a summary in the place of as many entries as one prompt can show."""
        most, many = self._agent.context_tokens, len(self._entries)
        while many and self._summing.tokens(self._ask(self._shown(many))) > most:
            many -= 1
        if not many:
            raise _too_large(
                self._agent, "its next prompt is too large, and no summary would make it fit"
            )
        self._summaries += 1
        self._summary = await self._summed(f"{self._name}/summary-{self._summaries}", many)
        self._entries = self._entries[many:]

    async def _summed(self, step: str, many: int) -> dict[str, Any]:
        """The model's summary, or the one it has mended as it was told."""
        told: list[dict[str, Any]] = []
        put = self.put | {"summary": self._summaries}
        for round_ in range(1, self._agent.mistakes + 2):
            view = self._ask(self._shown(many) + told)
            if self._summing.tokens(view) > self._agent.context_tokens:
                break
            at = step if round_ == 1 else f"{step}/{round_}"
            said = await self._voice.says(at, view, self._summing, put, round_)
            if not isinstance(said, list):
                document = said.model_dump(mode="json")
                if _size({"summary": document}) <= self._share:
                    return document
                said = [Complaint(TOO_LARGE, Advice.RETRY, allowed={"maxBytes": self._most})]
            told = [self._sieve.said({"complaints": [each.document() for each in said]})]
        codes = [str(each.get("code")) for entry in told for each in entry["complaints"]]
        if not _CUT.isdisjoint(codes):
            raise _too_large(self._agent, "its model makes no summary that is small enough")
        whole = f"{self._agent.name} was asked for a summary, and said: {', '.join(codes)}"
        raise Stop(StopReason.MODEL_OUTPUT_INVALID, whole)


def _worded(view: View) -> tuple[str, list[dict[str, Any]]]:
    return asked(view.instructions, view.goal, view.summary_bytes), view.history


def _size(entry: dict[str, Any]) -> int:
    """As it stands in a prompt (worker/wording.py)."""
    return len(to_json([entry], indent=1))


def _too_large(agent: Agent[Any], told: str) -> Stop:
    most = f"its context is {agent.context_tokens:,} (`context_tokens`)"
    return Stop(StopReason.TOKEN_BUDGET, f"{agent.name} cannot be asked: {told}; {most}")
