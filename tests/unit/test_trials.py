"""The plan of the trials: every guard is in it, to refuse something and to let something pass."""

from decimal import Decimal

import pytest

from config.policy import Policy
from models.guard import Guard
from models.run import StopReason
from worker.trials.kit import Kit
from worker.trials.plan import plan

TRIALS = plan(Decimal(5))


def test_every_guard_has_a_trial():
    assert set(TRIALS) == set(Guard)
    assert all(trial.guard is guard for guard, trial in TRIALS.items())


@pytest.mark.parametrize("trial", TRIALS.values(), ids=lambda each: each.guard)
def test_each_trial_has_its_guard_speak_and_ends_with_a_call_that_passes(trial):
    *tries, control = trial.probes

    assert all((each.expected.said or [("", "")])[0][0] is trial.guard for each in tries)
    assert control.expected.stands == StopReason.SUCCESS
    assert control.expected.reached == control.expected.ledger.count("settled") > 0


@pytest.mark.parametrize("trial", TRIALS.values(), ids=lambda each: each.guard)
def test_each_trial_uses_synthetic_tools_under_a_policy_that_can_be_read(trial):
    kit = Kit()

    for probe in trial.probes:
        Policy.model_validate(probe.policy)
        assert all(kit.tool(line.tool).name.startswith("guards.") for line in probe.lines)


def test_a_trial_never_allows_more_of_the_fleets_money_than_its_policy():
    ceilings = [Decimal(p.policy["spend"]["fleet_usd_per_day"]) for p in TRIALS[Guard.SPEND].probes]

    assert max(ceilings) == 5
