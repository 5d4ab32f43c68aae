"""A voice: how an agent's model is asked, and what it may say to that.

Whether it is a language model or a function, each of its sayings is a step: recorded before
anything is done about it, and the same on every replay.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json

from tools.llm import Finish
from worker.agents.agent import SAID_BYTES, Model, View
from worker.agents.complaint import Advice, Complaint, of_contract
from worker.agents.trail import Trail
from worker.labels.declared import schema_of
from worker.steps import Question, Steps
from worker.wording import LanguageModel, Talk, bare

S = TypeVar("S", bound=BaseModel)
TOO_LARGE = "too_large"


@dataclass(frozen=True)
class Form(Generic[S]):
    """What kind of thing is to be said, and how that is asked for."""

    kind: type[S]
    worded: Callable[[View], tuple[str, list[dict[str, Any]]]]
    """A view in words: what is ours, and what came from outside."""

    def talk(self, view: View) -> Talk:
        return Talk(*self.worded(view), schema_of(self.kind))

    def tokens(self, view: View) -> int:
        """Of the prompt, by the count that is reserved; a function is counted likewise."""
        return self.talk(view).most_tokens


class Voice:
    """One agent's model in one run."""

    def __init__(self, name: str, model: Model | LanguageModel, steps: Steps) -> None:
        self._name = name
        self._model = model
        self._steps = steps

    @property
    def trail(self) -> Trail:
        """What earlier attempts of this run have left."""
        return self._steps.held.record

    async def says(
        self, step: str, view: View, form: Form[S], put: dict[str, Any], round_: int
    ) -> S | list[Complaint]:
        """What fits the form, or what is wrong with it.

        `put` says which question it is: a replay has to put the same. What is shown is no part
        of it, so that a window of another size breaks no run that is under way.
        """
        if isinstance(self._model, LanguageModel):
            asked = form.talk(view).arguments(self._name, put, round_)
            said = await self._steps.call(step, self._model.tool, asked)
            if said.finish is not Finish.STOP:
                return [Complaint(said.finish, Advice.RETRY)]
            return _read(bare(said.text), form.kind)
        model = self._model
        question = Question(
            self._name,
            to_json({"agent": self._name, "turn": round_}),
            hashlib.sha256(to_json(put)).digest(),
        )
        written = await self._steps.once(step, question, lambda: _reply(model, view))
        return _read(from_json(written), form.kind)


async def _reply(model: Model, view: View) -> tuple[bytes, int]:
    """What the model says now, as the ledger can keep it."""
    reply = await model(view)
    said = reply.text
    text = said if isinstance(said, str) else said.decode(errors="replace")
    return to_json(text[: SAID_BYTES + 1].encode(errors="replace").decode()), reply.tokens


def _read(text: str, kind: type[S]) -> S | list[Complaint]:
    if len(text) > SAID_BYTES:
        return [Complaint(TOO_LARGE, Advice.RETRY, allowed={"maxBytes": SAID_BYTES})]
    try:
        from_json(text)
        return kind.model_validate_json(text, strict=True)
    except ValidationError as error:
        return of_contract(error, kind)
    except ValueError:
        return [Complaint("no_json", Advice.RETRY, allowed=schema_of(kind))]
