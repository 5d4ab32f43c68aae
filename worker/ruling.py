"""A ruling: what the policy says of one tool, for one tenant and pipeline; made once."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

from config.policy import Policy
from config.policy_approvals import NEVER, Approval
from config.policy_egress import Reach
from config.policy_logging import Logging
from config.rulebook import Rulebook
from models.guard import Guard
from models.run import StopReason
from tools.permit import Terms
from tools.tool import Effect, Tool, ToolError, unknowable
from tools.trust import Trust, closest
from worker.outcome import Stop

_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Ruling:
    """It narrows what the tool says of itself, and never widens it."""

    tool: Tool[Any, Any]
    denied: str | None
    """Why the tool may not be used at all; None: it may."""
    strict: bool
    timeout_s: float
    """The tool's own, or the policy's where that is shorter."""
    attempts: int
    """Tries in one place, before the run leaves to wait elsewhere."""
    tries: float
    """Tries in all, snoozed ones included; infinite where the policy does not say."""
    max_wait_s: float
    """For how long it may go on being tried."""
    backoff_ms: tuple[int, ...]
    retryable: frozenset[int] | None
    """HTTP answers after which one more try may help; None: whichever may be tried again."""
    most_calls: int | None
    """Of this tool, by one run."""
    most_unique: int | None
    """Different calls of any tool, by one run."""
    tenant_usd: Decimal | None
    fleet_usd: Decimal | None
    """The ceilings of a day."""
    egress: Reach
    """Whom its requests may reach."""
    logging: Logging
    terms: Terms
    """What its health asks; breakers and budgets of retries are the fleet's, whoever calls."""
    sensitive: bool
    """A call is on record in the audit before it leaves."""
    sinks: Mapping[str, Trust] | None
    """The tool's own, and what the policy adds."""
    asks: bool
    """The policy may want a person to allow a call."""
    approval: Approval | None
    """When a person must have allowed a call; None: as is usual for who chose it."""
    most_bytes: tuple[int, int]
    """Of arguments, and of a result."""
    max_bits: float
    """What text from outside may choose in one run's writes."""
    run_per_minute: int | None
    """Calls of this tool by one run."""
    revision: str

    def permit(self, *, by_person: bool) -> None:
        """Let a pipeline's declared tool pass; `by_person`: a person decides, or has decided.

        Raises:
            Stop: `tool_denied`, naming the rule.
        """
        if self.tool.effect is Effect.DESTRUCTIVE and not by_person:
            told = (
                f"{self.tool.name} is destructive: no run executes it by itself; put it to a person"
                " with flow.propose"
            )
            raise Stop(StopReason.TOOL_DENIED, told, Guard.ALLOWLIST)
        if self.denied is not None:
            raise Stop(StopReason.TOOL_DENIED, self.denied, Guard.ALLOWLIST)

    def worth_another(self, error: ToolError) -> bool:
        """Whether the policy lets a call that did nothing be tried again after this."""
        return self.retryable is None or error.status is None or error.status in self.retryable


class Rulings:
    """What was ruled under the rulebook's present revision."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook
        self._revision = ""
        self._known: dict[tuple[str, str, str], Ruling] = {}

    def of(self, tenant: str, pipeline: str, tool: Tool[Any, Any]) -> Ruling:
        if self._rulebook.revision != self._revision or len(self._known) > _MOST:
            self._revision = self._rulebook.revision
            self._known.clear()
        known = self._known.get((tenant, pipeline, tool.name))
        if known is None or known.tool is not tool:
            fleets = self._rulebook.file
            known = rule(self._rulebook.of(tenant, pipeline), tool, fleets.policy, fleets.revision)
            self._known[tenant, pipeline, tool.name] = known
        return known


def rule(policy: Policy, tool: Tool[Any, Any], fleets: Policy, revision: str) -> Ruling:
    """What a policy says of a tool, and the fleet's of what is the same for all."""
    retries, limits = policy.tools.retries, policy.limits(tool.name)
    timeout_s, approval = policy.tools.timeouts_s.of(tool.name), policy.approval(tool.name)
    most_tries = limits.max_retries if limits else None
    statuses = retries.retryable_status
    return Ruling(
        tool=tool,
        denied=_denied(policy, tool),
        strict=policy.validation.input.strict,
        timeout_s=tool.timeout_s if timeout_s is None else min(tool.timeout_s, timeout_s),
        attempts=min(tool.retries + 1, retries.max_attempts or tool.retries + 1),
        tries=float("inf") if most_tries is None else most_tries + 1,
        max_wait_s=retries.max_wait_s,
        backoff_ms=retries.backoff_ms,
        retryable=None if statuses is None else frozenset(statuses),
        most_calls=limits.max_calls if limits else None,
        most_unique=policy.agent.budgets.max_unique_calls,
        tenant_usd=policy.spend.tenant_usd_per_day,
        fleet_usd=policy.spend.fleet_usd_per_day,
        egress=policy.egress.of(tool.name),
        logging=policy.logging,
        terms=Terms(fleets.tools.circuit_breakers, limits, fleets.tools.retries),
        sensitive=any(fnmatchcase(tool.name, each) for each in policy.tools.sensitive),
        sinks=_sinks(policy, tool),
        asks=approval not in {None, NEVER},
        approval=approval,
        most_bytes=(policy.validation.input.max_bytes, policy.validation.output.max_bytes),
        max_bits=policy.labels.max_bits,
        run_per_minute=limits.run_per_minute if limits else None,
        revision=revision,
    )


def _sinks(policy: Policy, tool: Tool[Any, Any]) -> Mapping[str, Trust] | None:
    """What each argument needs: the policy may ask for more than the tool, never for less."""
    said = policy.sinks(tool.name)
    if not said:
        return tool.sinks
    own: Mapping[str, Trust] = {"": Trust.UNTRUSTED} if tool.sinks is None else tool.sinks
    needed = dict(own)
    for pointer, word in said.items():
        place = closest(own, pointer)
        least = Trust.TRUSTED if place is None else own[place]
        needed[pointer] = max(least, Trust[word.upper()])
    return needed


def _denied(policy: Policy, tool: Tool[Any, Any]) -> str | None:
    judged = policy.judge(tool.name)
    if not judged.allowed:
        names = f" ({judged.pattern})" if judged.pattern else ": it does not name it"
        return f"{tool.name} is not allowed by {judged.rule} of the policy{names}"
    answerable = tool.effect is not Effect.WRITE_ONCE or tool.lookup is not unknowable
    if tool.name in policy.tools.idempotency_required and not answerable:
        return (
            f"{tool.name} is among tools.idempotency_required of the policy, but its target neither"
            " knows our key nor can be asked what became of a write"
        )
    return None
