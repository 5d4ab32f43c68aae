"""A cost alert: looked at, judged, held against the rails, and an idle instance shut down."""

from decimal import Decimal
from typing import Literal, Self

from pydantic import BaseModel, Field

from models.budget import Budget
from tools import approval
from tools.cloud import instance as cloud
from tools.cloud.form import Id, Instance, Money, SnapshotRef, State
from tools.llm import language_model
from worker.flow import Flow
from worker.labels.binding import fixed, ref
from worker.outcome import ToolFailed
from worker.pipeline import pipeline
from worker.pipelines.cost_alert_analysis import (
    ASSISTANT,
    BY_MODEL,
    BY_RULES,
    Action,
    Analysis,
    rail,
)

Outcome = Literal["advised", "held_back", "would_stop", "stopped", "rolled_back"]
NOTHING = Decimal(0)


class Alert(BaseModel, extra="forbid"):
    """An alert as its source has it."""

    id: str = Field(min_length=1, max_length=150)
    source: str = Field(default="alerts", min_length=1, max_length=40)
    instance_id: Id
    text: str = Field(min_length=1, max_length=20_000)
    monthly_usd: Money | None = None
    """What the alert says that it costs. What it does cost, the cloud is asked."""
    assistant: Literal["default"] | None = None
    """A language model of SLUICE_MODELS that is asked where no rule answers; None: rules alone."""
    dry_run: bool = False
    """Nothing is changed; what would be saved is in the result."""


class Handled(BaseModel, extra="forbid"):
    """What became of an alert."""

    alert_id: str
    instance_id: str
    action: Action
    confidence: float = Field(ge=0, le=1)
    because: str
    outcome: Outcome = "advised"
    monthly_usd: Money
    """What it costs while it runs, by the cloud's own figures."""
    would_save_usd: Money = NOTHING
    saves_usd: Money = NOTHING
    snapshot_id: str | None = None
    approved_by: str | None = None
    """None: nobody had to be asked."""
    dry_run: bool

    @classmethod
    def of(cls, alert: Alert, seen: Instance) -> Self:
        """Before anybody has judged it."""
        return cls(
            alert_id=alert.id,
            instance_id=seen.instance_id,
            action=Action.INVESTIGATE,
            confidence=0,
            because="nobody has analysed it",
            monthly_usd=seen.monthly_usd,
            dry_run=alert.dry_run,
        )

    def now(self, outcome: Outcome, **more: object) -> Self:
        return self.model_copy(update={"outcome": outcome, **more})


@pipeline(
    "cost-alert",
    version=1,
    tools=[
        cloud.instance,
        cloud.estimate,
        cloud.snapshot,
        cloud.shutdown,
        approval.read,
        language_model(ASSISTANT),
    ],
    budget=Budget(steps=20, tool_calls=15, tokens=60_000, cost_usd=Decimal("0.50")),
    trusts=("/id", "/source", "/instance_id"),
)
async def cost_alert(flow: Flow, alert: Alert) -> Handled:
    """Say what to do about an instance that costs too much, and shut it down where that is safe."""
    seen = await flow.call("look", cloud.instance, instance_id=ref("input:/instance_id"))
    handled = Handled.of(alert, seen)
    await flow.partial(handled)
    found = await _analyse(flow, alert, seen)
    handled = handled.now("advised", **found.model_dump())
    if why := rail(found, seen):
        return handled.now("held_back", action=Action.INVESTIGATE, because=why)
    await flow.partial(handled)
    if found.action is not Action.SHUTDOWN:
        return handled
    estimate = await flow.call("estimate", cloud.estimate, instance_id=ref("look:/instance_id"))
    if estimate.state is not State.RUNNING:
        return handled.now("advised", action=Action.MONITOR, because="somebody has stopped it")
    handled = handled.now("would_stop", would_save_usd=estimate.would_save_usd)
    if alert.dry_run:
        return handled
    await flow.partial(handled)
    return await _stop(flow, handled)


async def _analyse(flow: Flow, alert: Alert, seen: Instance) -> Analysis:
    """By the language model that the alert names; by rules alone without one, or where it fails."""
    if alert.assistant is not None:
        try:
            return await flow.decide(
                "analyse", BY_MODEL, alert=alert.text, alert_usd=alert.monthly_usd, instance=seen
            )
        except ToolFailed:
            pass
    return await flow.decide(
        "analyse-by-rules", BY_RULES, alert=alert.text, alert_usd=alert.monthly_usd, instance=seen
    )


async def _stop(flow: Flow, handled: Handled) -> Handled:
    """Shut it down, kept in a snapshot first; above an amount of the policy a person is asked.

    That amount is the cloud's, and part of what is approved. What cannot be seen to have stopped
    is started again.
    """
    stopped = await flow.call(
        "stop",
        cloud.shutdown,
        instance_id=ref("estimate:/instance_id"),
        would_save_usd=ref("estimate:/would_save_usd"),
    )
    if stopped.dry_run:  # this installation lets the pipeline observe, and no more
        return handled.now("would_stop", dry_run=True)
    kept = flow.snapshot("stop", SnapshotRef)
    handled = handled.now("stopped", saves_usd=stopped.saves_usd, snapshot_id=kept.snapshot_id)
    await flow.partial(handled)
    try:
        seen = await flow.call("verify", cloud.instance, instance_id=ref("estimate:/instance_id"))
        holds = seen.state is State.STOPPED
    except ToolFailed:
        holds = False
    if not holds:
        await flow.roll_back(to="estimate")
        told = "it was not seen to have stopped, so it was started again"
        return handled.now("rolled_back", saves_usd=NOTHING, because=told)
    allowed = await flow.call("approval", approval.read, step=fixed("stop"))
    return handled.now("stopped", approved_by=allowed.who)
