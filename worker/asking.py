"""Asking a language model: a typed answer, or one that was told what is wrong with it, or none."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from models.run import StopReason
from tools.llm import Completion, Finish
from worker.agents.complaint import Complaint, of_contract
from worker.decision import Answer, Decision
from worker.outcome import Stop
from worker.steps import Steps
from worker.wording import LanguageModel, Talk, bare

T = TypeVar("T", bound=Answer)


class Asking(Generic[T]):
    """One decision's question to a model. Each time it is put is a step: `NAME/ask-1`, ..."""

    def __init__(
        self, step: str, decision: Decision[T], model: LanguageModel, inputs: Mapping[str, Any],
        steps: Steps, *, beside: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """`beside`: shown with the inputs, and no part of what a replay must repeat."""
        self._shown = {**inputs, **(beside or {})}
        self._step, self._decision, self._model = step, decision, model
        self._inputs = inputs
        self._steps = steps

    async def run(self) -> T:
        """The model's answer, or the decision's fallback where it has none that fits.

        Raises:
            ToolFailed: The model could not be asked.
            Stop: `model_output_invalid`: nothing fits, and there is no fallback.
        """
        decision, given = self._decision, self._inputs
        talk = Talk(decision.prompt, self._shown, decision.answer.model_json_schema())
        told = ""
        for round_ in range(1, self._model.reasks + 2):
            said = await self._steps.call(
                f"{self._step}/ask-{round_}",
                self._model.tool,
                talk.arguments(decision.name, given, round_),
            )
            if said.finish is not Finish.STOP:  # the same question would end the same way
                told = _UNFINISHED[said.finish]
                break
            found = await self._read(said)
            if not isinstance(found, list):
                return found
            told = ", ".join(f"{each.pointer or '/'} {each.code}" for each in found)
            talk.tell(said.text, [each.document() for each in found])
        if decision.fallback is None:
            whole = f"{self._model.tool.name} has no answer for {decision.name}: {told}"
            raise Stop(StopReason.MODEL_OUTPUT_INVALID, whole)
        return decision.fallback

    async def _read(self, said: Completion) -> T | list[Complaint]:
        """By our own contract, whatever the endpoint has promised; nothing is coerced."""
        try:
            return self._decision.answer.model_validate_json(bare(said.text), strict=True)
        except ValidationError as error:
            return of_contract(error, self._decision.answer)

    def skip(self) -> None:
        """Count what led to a decision that is on record, as if it were replayed."""
        held = self._steps.held
        for name, record in held.record.items():
            if name.startswith(f"{self._step}/ask-"):
                held.names.add(name)
                held.met(self._model.tool.name, record.args_hash)


_UNFINISHED = {
    Finish.LENGTH: "it was cut at its max_tokens",
    Finish.REFUSED: "it refused, or a filter did",
}
