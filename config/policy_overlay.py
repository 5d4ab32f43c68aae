"""The policy's overlays: what differs for one tenant or one pipeline."""

from typing import Any

from pydantic import BaseModel, field_validator


class Overlay(BaseModel, frozen=True, extra="forbid"):
    """What differs for one tenant or one pipeline. Lists replace, but `deny` is added to."""

    agent: dict[str, Any] = {}
    tools: dict[str, Any] = {}
    spend: dict[str, Any] = {}
    labels: dict[str, Any] = {}
    egress: dict[str, Any] = {}
    autonomy: dict[str, Any] = {}

    @field_validator("tools")
    @classmethod
    def _breakers_and_budgets_are_the_fleets(cls, tools: dict[str, Any]) -> dict[str, Any]:
        if "circuit_breakers" in tools:
            raise ValueError("circuit_breakers are the whole fleet's: no overlay changes them")
        retries, budget = tools.get("retries"), {"budget_share", "budget_per_second"}
        if isinstance(retries, dict) and not budget.isdisjoint(retries):
            told = "retries.budget_share and budget_per_second are the whole fleet's"
            raise ValueError(f"{told}: no overlay changes them")
        return tools


def over(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """The one with the other on top, key by key."""
    merged = dict(base)
    for key, value in overlay.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = over(old, value)
        elif key == "deny":
            merged[key] = (*(old or ()), *value)
        else:
            merged[key] = value
    return merged
