"""Carries out one approved proposal: exactly that call, once, as a request of its own.

Every worker has it, whatever catalogue it runs. Anybody may ask for it: the verdict decides, and
the intent of the call looks that up.
"""

import hashlib
from datetime import timedelta
from typing import Any
from uuid import UUID

from pydantic import BaseModel, TypeAdapter
from pydantic_core import to_json

from models.autonomy import Autonomy
from models.proposal import BUDGET, EXECUTE, VERSION
from models.run import StopReason, WaitingFor
from tools.tool import Tool
from worker.flow import Flow
from worker.mandate import find
from worker.outcome import Snooze, Stop
from worker.pipeline import Catalogue, Pipeline, pipeline
from worker.refusal import refused_by
from worker.steps import Question, Steps
from worker.warrant import Mandate

_ELSEWHERE_S = 15.0
_MANDATE = TypeAdapter(Mandate)


class Execution(BaseModel, extra="forbid"):
    proposal: UUID
    """The review's id."""


class Executed(BaseModel, extra="forbid"):
    """What was done of a proposal."""

    tool: str
    args_hash: str
    """SHA-256 of the arguments as they were approved, or edited."""
    edited: bool
    outcome: Any
    """The tool's result."""


def with_execution(catalogue: Catalogue) -> Catalogue:
    """A worker's pipelines, and the one that carries out what they have proposed."""
    tools = [tool for each in catalogue.values() for tool in each.tools.values()]

    @pipeline(EXECUTE, version=VERSION, tools=tools, budget=BUDGET)
    async def execute(flow: Flow, given: Execution) -> Executed:
        """Makes one approved call. Its tool, arguments and policy are the proposal's."""
        mandate = await _mandate(flow.steps, given.proposal)
        if flow.steps.held.autonomy is Autonomy.OBSERVE:  # of this pipeline only a dry run is
            raise Stop(StopReason.PROPOSED, "a dry run carries out no proposal: ask without it")
        tool = _tool(catalogue, mandate)
        if tool is None:
            await _still(flow.steps, given.proposal)
            told = f"this worker has no {mandate.tool} of {mandate.pipeline}; another may"
            raise Snooze(timedelta(seconds=_ELSEWHERE_S), WaitingFor.WORKER, told)
        result: BaseModel = await flow.steps.call("call", tool, {}, mandate=mandate)
        return Executed(
            tool=tool.name,
            args_hash=hashlib.sha256(mandate.written).hexdigest(),
            edited=mandate.edited,
            outcome=result.model_dump(mode="json"),
        )

    ours: dict[tuple[str, int], Pipeline[Any, Any]] = {(EXECUTE, VERSION): execute}
    return {**catalogue, **ours}


async def _mandate(steps: Steps, proposal: UUID) -> Mandate:
    """The verdict as a recorded step: whoever resumes the run does what it has begun."""

    async def look() -> tuple[bytes, int]:
        return _MANDATE.dump_json(await _still(steps, proposal)), 0

    asked = to_json({"proposal": str(proposal)})
    question = Question(EXECUTE, asked, hashlib.sha256(b"proposal\0" + asked).digest())
    return _MANDATE.validate_json(await steps.once("verdict", question, look))


async def _still(steps: Steps, proposal: UUID) -> Mandate:
    """What is to be done, as the verdict stands now.

    Raises:
        Stop: `tool_denied`, on record for the audit.
    """
    held = steps.held
    try:
        return await find(proposal, tenant=held.tenant, run=held.id)
    except Stop as stop:
        if (said := refused_by(stop)) is not None:
            await steps.refused("verdict", EXECUTE, said)
        raise


def _tool(catalogue: Catalogue, mandate: Mandate) -> Tool[Any, Any] | None:
    """As the pipeline had it that proposed the call; in its newest version, where that is gone."""
    versions = sorted((key for key in catalogue if key[0] == mandate.pipeline), reverse=True)
    versions.sort(key=lambda key: key[1] != mandate.version)
    having = (catalogue[key].tools.get(mandate.tool) for key in versions)
    return next((tool for tool in having if tool is not None), None)
