"""Metrics: what Prometheus is told, in its text format, all of it read when it asks.

The format by hand, for no number is kept in this process: a client library would bring a registry
and a collector class to print these same few lines.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from aiohttp import web

from models.count import AT_MOST, stops_that_page, unfinished
from models.guard import Guard, lacking, standing
from models.run import PAGING, RunStatus
from producer.problems import Forbidden
from producer.state import STATE

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_UNFINISHED = tuple(each for each in RunStatus if each is not RunStatus.FINISHED)


class Family(NamedTuple):
    """One metric, by the values of its one label."""

    name: str
    kind: str
    about: str
    label: str
    values: Mapping[str, float]


async def get_metrics(request: web.Request) -> web.Response:
    """GET /metrics: for an operator's key, or on our own socket. No tenants, no tools."""
    state = request.app[STATE]
    if not (await state.doorman.caller(request)).operator:
        raise Forbidden("the fleet's figures are for an operator's key")
    told = [*await _guards(state.settings.api.guards_proven_within_s), *await _runs()]
    return web.Response(body=text(told).encode(), headers={"Content-Type": CONTENT_TYPE})


async def _guards(within_s: float) -> list[Family]:
    found = await standing()
    why, known = lacking(found, within_s=within_s), {each.name: each for each in found}
    refused: dict[str, float] = dict.fromkeys(Guard, 0)
    refused |= {each: known[each].refused for each in Guard if each in known}
    return [
        Family("sluice_guard_refusals_total", "counter",
               "Calls that a guard refused (sensitive: put on record), trials included.", "guard",
               refused),
        Family("sluice_guard_proven", "gauge",
               "1: `sluice guards verify` has proven it within the time that is set.", "guard",
               {each: int(each not in why) for each in Guard}),
        Family("sluice_guard_last_tried_timestamp_seconds", "gauge",
               "When it was last tried.", "guard",
               {each: when.timestamp() for each in Guard
                if each in known and (when := known[each].proven_at)}),
    ]  # fmt: skip


async def _runs() -> list[Family]:
    runs, paged = await unfinished(), await stops_that_page()
    return [
        Family("sluice_runs", "gauge", f"Unfinished runs; {AT_MOST} means as many or more.",
               "status", {each: runs.get(each, 0) for each in _UNFINISHED}),
        Family("sluice_run_stops_last_hour", "gauge",
               f"Runs that stopped for a reason that pages; at most {AT_MOST} are counted.",
               "stop_reason", {each: paged.get(each, 0) for each in PAGING}),
    ]  # fmt: skip


def text(families: Iterable[Family]) -> str:
    """As https://prometheus.io/docs/instrumenting/exposition_formats/ has it. Labels are our own
    enums' words, so that nothing is to be escaped."""
    lines: list[str] = []
    for each in families:
        lines += [f"# HELP {each.name} {each.about}", f"# TYPE {each.name} {each.kind}"]
        lines += [
            f'{each.name}{{{each.label}="{value}"}} {number!r}'
            for value, number in each.values.items()
        ]
    return "\n".join(lines) + "\n"
