"""`sluice policy`: whether a policy can be used, and what it says of a tool."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from config.policy import Policy
from config.policy_file import PolicyFile, read
from config.settings import settings
from producer.tables import console

policy = typer.Typer(help="What the fleet may do by itself.", no_args_is_help=True)
File = Annotated[Path | None, typer.Option("--file", help="Default: the one in force here.")]


@policy.command("check")
def check(file: Annotated[Path, typer.Argument(help="The policy to check.")]) -> None:
    """Say whether a policy can be used; if not, what is wrong in which line (exit code 2)."""
    found = read(file)
    console.print(
        f"{file} can be used: revision {found.revision},"
        f" {len(found.policy.tenants)} tenants and {len(found.policy.pipelines)} pipelines differ",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    egress = found.policy.egress
    if egress.hosts or egress.private:
        named = {host for hosts in egress.hosts.values() for host in hosts}
        console.print(
            f"egress: {len(egress.hosts)} patterns of tools reach {len(named)} hosts beside their"
            f" own targets; {len(egress.private)} private names or networks are open",
            highlight=False, soft_wrap=True,
        )  # fmt: skip


@policy.command("explain")
def explain(
    tool: Annotated[str, typer.Option(help="A tool's name.")],
    tenant: Annotated[str, typer.Option(help="For this tenant.")] = "",
    pipeline: Annotated[str, typer.Option(help="For this pipeline.")] = "",
    file: File = None,
) -> None:
    """Say what the policy makes of a tool, by which rule, and where that rule stands."""
    found = read(file or settings().policy)
    view = found.policy.of(tenant, pipeline)
    judged = view.judge(tool)
    table = Table(box=None, pad_edge=False)
    for name in ("what", "is", "rule", "where"):
        table.add_column(name, overflow="fold")
    rules = _Rules(found, tenant, pipeline)
    verdict = "allowed" if judged.allowed else "denied"
    rule = judged.rule + (f": {judged.pattern}" if judged.pattern else "")
    table.add_row(
        tool, verdict, rule, rules.where("tools.deny" if "deny" in rule else "tools.allow")
    )
    for what, value, place in _numbers(view, tool):
        table.add_row(what, value, place, rules.where(place))
    console.print(f"policy {found.revision}, {found.path}", highlight=False, soft_wrap=True)
    console.print(table, highlight=False)


class _Rules:
    """Where a rule stands: in the tenant's overlay, else the pipeline's, else on top."""

    def __init__(self, found: PolicyFile, tenant: str, pipeline: str) -> None:
        self._found = found
        self._prefixes = (f"tenants.{tenant}.", f"pipelines.{pipeline}.", "")

    def where(self, place: str) -> str:
        for prefix in self._prefixes:
            if prefix + place in self._found.lines:
                return f"line {self._found.lines[prefix + place]}"
        return "the default"


def _numbers(view: Policy, tool: str) -> list[tuple[str, str, str]]:
    """What else holds for the tool, each with its value and its place in the file."""
    tools, limits = view.tools, view.limits(tool)
    own = f"tools.timeouts_s.{tool}"
    timeout_s = tools.timeouts_s.of(tool)
    place = own if tool in (tools.timeouts_s.model_extra or {}) else "tools.timeouts_s.default"
    retries = tools.retries
    rows = [
        ("time-out", "the tool's own" if timeout_s is None else f"at most {timeout_s:g} s", place),
        ("tries in place", _or(retries.max_attempts, "the tool's own"),
         "tools.retries.max_attempts"),
        ("answers worth another try", _or(retries.retryable_status, "any that is safe"),
         "tools.retries.retryable_status"),
        ("must be idempotent", str(tool in tools.idempotency_required).lower(),
         "tools.idempotency_required"),
        ("asks a person", str(_or(view.approval(tool), "when a model proposed the write")),
         "tools.approvals"),
        ("its arguments need", _or(" ".join(map(" ".join, view.sinks(tool).items())) or None,
                                   "what the tool says"), "tools.sinks"),
        ("on record beforehand",
         str(any(fnmatchcase(tool, each) for each in tools.sensitive)).lower(), "tools.sensitive"),
        ("text from outside may choose", f"{view.labels.max_bits:g} bits a run", "labels.max_bits"),
        ("in safe mode", "goes on, if it reads" if view.safe_mode.allows(tool) else "waits",
         "safe_mode.allowed_tools"),
    ]  # fmt: skip
    rows += _autonomy(view)
    told = limits.model_dump(exclude_none=True, exclude_defaults=True) if limits else {}
    rows += [(f"limit {name}", str(value), "tools.limits") for name, value in told.items()]
    return rows + _egress(view, tool)


def _autonomy(view: Policy) -> list[tuple[str, str, str]]:
    """How much the pipeline may do by itself, and what more asks for."""
    own = view.autonomy
    rows = [
        ("autonomy", f"at most {own.level}", "autonomy.level"),
        ("autonomy until it is set", str(own.initial), "autonomy.initial"),
    ]
    for level, bar in (("reversible", own.promote.reversible), ("act", own.promote.act)):
        told = (
            f"after {bar.fewest} decisions, {bar.precision:.1%} of them approved as it was,"
            f" {bar.reversals:.1%} of its writes undone"
        )
        rows.append((f"promoted to {level}", told, f"autonomy.promote.{level}"))
    return rows


def _egress(view: Policy, tool: str) -> list[tuple[str, str, str]]:
    """Whom its requests may reach, how much may come back, and for how long."""
    egress = view.egress
    fit = [pattern for pattern in egress.hosts if fnmatchcase(tool, pattern)]
    rows = [("reaches", ", ".join(egress.hosts[each]), f"egress.hosts.{each}") for each in fit]
    return [
        *(rows or [("reaches", "its own target alone", "egress.hosts")]),
        ("private ones", ", ".join(egress.private) or "its own target, where that is named so",
         "egress.private"),
        ("an answer", f"at most {egress.max_bytes} bytes", "egress.max_bytes"),
        ("an exchange", _or(egress.max_seconds and f"at most {egress.max_seconds:g} s",
                            "as long as the call"), "egress.max_seconds"),
    ]  # fmt: skip


def _or(value: object, otherwise: str) -> str:
    return otherwise if value is None else str(value)
