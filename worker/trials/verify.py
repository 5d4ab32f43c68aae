"""Verifying: every guard's trial, one after the other, and what came of it."""

import tempfile
import time
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import structlog

from config.settings import WorkerSettings
from models import shadow
from models.gate import STRICTNESS, GateMode, flip, gates
from models.guard import Guard, standing, tried
from models.run import StopReason
from models.scope import FLEET, POLICY
from models.shadow import SCOPE
from models.spend import spending
from worker.trials.kit import COSTS_USD
from worker.trials.plan import plan
from worker.trials.probe import Trial
from worker.trials.stage import WHO, Stage

log = structlog.get_logger()

PATIENCE_S = 60.0
"""How long one waits for another verification to be done."""


class Proof(NamedTuple):
    """What came of a trial."""

    guard: Guard
    proven: bool | None
    """None: it was not tried."""
    tried: str
    told: str
    """What was seen; of one that was not tried: why not."""
    took_s: float


async def verify(
    settings: WorkerSettings,
    *,
    broker_url: str | None,
    fleet_usd: Decimal | None = None,
    only: Collection[Guard] = tuple(Guard),
    patience_s: float = PATIENCE_S,
) -> list[Proof]:
    """Try the guards in the shadow tenant, and keep what was found; it leaves no other rows.

    Raises:
        Busy: Others are at it.
        OSError, asyncpg.PostgresError: The database cannot be worked with; nothing was found.
    """
    trials = [trial for guard, trial in plan(fleet_usd).items() if guard in only]
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-guards-")))
        await stack.enter_async_context(shadow.turn(patience_s=patience_s))
        await _open_again()
        await shadow.remove()
        stack.push_async_callback(shadow.remove)
        stage = Stage(settings, folder, broker_url=broker_url)
        stack.push_async_callback(stage.close)
        await stage.open()
        proofs = await _all(stage, trials, fleet_usd)
    if found := [(guard, well, told) for guard, well, _, told, _ in proofs if well is not None]:
        await tried(found)
    return proofs


async def _all(stage: Stage, trials: Sequence[Trial], fleet_usd: Decimal | None) -> list[Proof]:
    why_not = {each.guard: await _unfit(each, fleet_usd) for each in trials}
    fit = [each for each in trials if not why_not[each.guard]]
    runs = iter(await stage.admit([probe for each in fit for probe in each.probes]))
    proofs = [
        Proof(each.guard, None, each.told, told, 0.0)
        for each in trials
        if (told := why_not[each.guard])
    ]
    for each in fit:
        proof = await _one(stage, each, [next(runs) for _ in each.probes])
        if not proof.proven and (told := await _unfit(each, fleet_usd)):
            proof = proof._replace(proven=None, told=f"{told}, since it was begun")
        proofs.append(proof)
    return sorted(proofs, key=lambda each: list(Guard).index(each.guard))


async def _one(stage: Stage, trial: Trial, runs: Sequence[UUID]) -> Proof:
    begun, refused = time.monotonic(), await _refused(trial.guard)
    told, lines = "", 0
    try:
        for run, probe in zip(runs, trial.probes, strict=True):
            seen = await stage.try_out(run, probe)
            if other := seen.other(probe.expected):
                told = f"{probe.what}: {other}"
                break
            lines += sum(guard is trial.guard for guard, _ in seen.said)
        else:
            grown = await _refused(trial.guard) - refused
            if grown < lines:
                told = f"its count grew by {grown}, with {lines} lines in the audit"
    except Exception as error:  # whatever it is, it is not proven; the next one is tried
        log.exception("guard.not_tried", guard=trial.guard)
        told = f"its trial broke off: {type(error).__name__}: {error}"[:300]
    took_s = time.monotonic() - begun
    return Proof(trial.guard, not told, trial.told, told or _well(trial), took_s)


def _well(trial: Trial) -> str:
    passes = sum(each.expected.stands == StopReason.SUCCESS for each in trial.probes)
    lines = sum(len(each.expected.said) for each in trial.probes)
    return f"{len(trial.probes) - passes} refused, {passes} let pass, {lines} in the audit"


async def _refused(guard: Guard) -> int:
    return next((each.refused for each in await standing() if each.name == guard), 0)


async def _unfit(trial: Trial, fleet_usd: Decimal | None) -> str:
    """Why a guard cannot be tried just now; empty when it can."""
    modes = {row["scope"]: GateMode(row["mode"]) for row in await gates()}
    stands = max(
        modes.get(FLEET, GateMode.CLOSED), modes.get(POLICY, GateMode.OPEN),
        key=STRICTNESS.__getitem__,
    )  # fmt: skip
    if stands is GateMode.CLOSED:
        return "not tried: the fleet's gate is closed, and nothing starts"
    if stands is GateMode.READ_ONLY and trial.writes:
        return "not tried: the fleet is in safe mode, and no write starts"
    if trial.guard is Guard.SPEND and fleet_usd is not None:
        today = [row for row in await spending(1) if row["scope"] == FLEET]
        if sum((row["reserved"] + row["spent"] for row in today), COSTS_USD) > fleet_usd:
            return "not tried: the fleet has spent what it may today"
    return ""


async def _open_again() -> None:
    """What a verification that died has left shut."""
    if any(row["scope"] == SCOPE and row["mode"] != GateMode.OPEN for row in await gates()):
        await flip(SCOPE, GateMode.OPEN, who=WHO, reason="an earlier trial died with it shut")
