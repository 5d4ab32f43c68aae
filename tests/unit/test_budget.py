"""Budget arithmetic: reaching a ceiling is allowed, breaking it names the ceiling."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.budget import Budget, Usage
from models.run import StopReason

BUDGET = Budget(steps=5, tool_calls=4, tokens=100, cost_usd=Decimal("0.30"), seconds=10)
AT_EVERY_CEILING = Usage(steps=5, calls=4, tokens=100, usd=Decimal("0.30"), seconds=10)


def test_standing_at_every_ceiling_is_allowed():
    assert BUDGET.exceeded_by(AT_EVERY_CEILING) is None


@pytest.mark.parametrize(("more", "reason"), [
    ({"steps": 6}, StopReason.STEP_BUDGET),
    ({"calls": 5}, StopReason.TOOL_BUDGET),
    ({"tokens": 101}, StopReason.TOKEN_BUDGET),
    ({"usd": Decimal("0.30000001")}, StopReason.COST_BUDGET),
    ({"seconds": 10.001}, StopReason.TIME_BUDGET),
])  # fmt: skip
def test_one_past_a_ceiling_names_it(more, reason):
    assert BUDGET.exceeded_by(replace(AT_EVERY_CEILING, **more)) is reason


@given(st.lists(st.decimals("0.00000001", "0.2", places=8), max_size=40))
def test_whatever_is_reserved_one_by_one_what_was_let_through_never_passes_the_ceiling(costs):
    spent = Decimal(0)

    for cost in costs:
        if BUDGET.exceeded_by(Usage(usd=spent + cost)) is None:
            spent += cost

    assert spent <= BUDGET.cost_usd


def test_every_ceiling_can_be_told_to_people():
    for reason in ("cost", "token", "tool", "step", "time"):
        assert BUDGET.told(StopReason(f"{reason}_budget")).startswith("ceiling of")
