"""The policy: what the fleet may do by itself. Its file is read by config/policy_file.py."""

from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from config.policy_approvals import USUAL, Approval
from config.policy_autonomy import Independence
from config.policy_egress import Egress
from config.policy_logging import Logging
from config.policy_overlay import Overlay, over
from config.policy_part import Part
from config.policy_safe_mode import SafeMode
from config.policy_validation import Validation


class Ceilings(Part):
    """Of one run, whatever its pipeline would like; None: as the pipeline says."""

    max_steps: int | None = Field(default=None, ge=0)
    max_seconds: float | None = Field(default=None, gt=0)
    """Of active time: waiting for people, targets and the queue does not count."""
    max_tool_calls: int | None = Field(default=None, ge=0)
    max_unique_calls: int | None = Field(default=None, ge=0)
    """Calls that differ in tool or arguments."""
    max_tokens: int | None = Field(default=None, ge=0)
    max_usd: Decimal | None = Field(default=None, ge=0)

    @cached_property
    def none(self) -> bool:
        """Asked for every run, and true of most."""
        return self == Ceilings()


class LoopDetection(Part):
    """When a run goes round in circles; see worker/repetition.py."""

    repeated_calls_threshold: int = Field(default=3, ge=2)
    """So many calls of one tool with the same arguments and result, and no new write between."""
    alternating_threshold: int = Field(default=2, ge=2)
    """So many times the same two, three or four calls in turn."""
    no_progress_threshold: int = Field(default=6, ge=2)
    """So many calls, one after the other, that failed or brought nothing new."""
    failures_threshold: int = Field(default=4, ge=2)
    """So many calls, one after the other, that failed."""


class Agent(Part):
    budgets: Ceilings = Ceilings()
    loop_detection: LoopDetection = LoopDetection()


class Timeouts(BaseModel):
    """Seconds by tool, `default` for all others; a tool's own time-out may be shorter."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Annotated[float, Field(gt=0)]] = Field(init=False)

    default: float | None = Field(default=None, gt=0)

    def of(self, tool: str) -> float | None:
        own = (self.__pydantic_extra__ or {}).get(tool)
        return self.default if own is None else own


class Retries(Part):
    """How a call that may be tried again is: in place, before its run leaves to wait elsewhere."""

    max_attempts: int | None = Field(default=None, ge=1)
    """With the first; None: as the tool says."""
    retryable_status: tuple[int, ...] | None = None
    """HTTP answers after which one more try may help; may only narrow what is safe anyway."""
    backoff_ms: tuple[int, ...] = ()
    """The longest pause before the second try, the third, and so on; the last one stays."""
    max_wait_s: float = Field(default=900, ge=0)
    """For how long one call may go on being tried, snoozed in between; then its step fails."""
    budget_share: float = Field(default=0.1, ge=0, le=1)
    """Further tries of a tool's calls by the whole fleet, as a share of those that went well ..."""
    budget_per_second: float = Field(default=3, gt=0)
    """... and so many more. One that goes beyond waits for its turn; a first try never does."""


class CircuitBreakers(Part):
    """Of each tool, for the whole fleet; see tools/health.py."""

    enabled: bool = True
    failure_threshold: int = Field(default=5, ge=1)
    window_seconds: float = Field(default=60, gt=0)
    failure_share: float = Field(default=0.5, gt=0, le=1)
    """Of the calls in the window; below it no count of failures opens a breaker."""
    slow_seconds: float | None = Field(default=None, gt=0)
    """An answer that takes longer counts as a failure."""
    open_seconds: float = Field(default=5, gt=0)
    """How long it stays open at first; twice as long each time a probe fails, up to ten minutes."""
    probes: int = Field(default=3, ge=1)
    """Calls let through at a time while it is half open."""


class Limits(Part):
    """Of one tool."""

    per_second: float | None = Field(default=None, gt=0)
    """Calls by the whole fleet, evenly."""
    burst: int = Field(default=1, ge=1)
    at_once: int | None = Field(default=None, ge=1)
    """Calls of the whole fleet side by side."""
    max_calls: int | None = Field(default=None, ge=0)
    """Calls of one run."""
    run_per_minute: int | None = Field(default=None, ge=1)
    """Calls of one run within a minute; one more waits."""
    max_retries: int | None = Field(default=None, ge=0)
    """Further tries of one call, snoozed ones included."""


TrustWord = Literal["trusted", "endorsed", "untrusted"]


class Tools(Part):
    """Which tools, and how."""

    allow: tuple[str, ...] | None = None
    """Names, `*` as in file names. None: what each pipeline declares; nothing else ever."""
    deny: tuple[str, ...] = ()
    """Wins over `allow`."""
    idempotency_required: tuple[str, ...] = ()
    """Writes whose target must know our key, or be able to say what became of a write."""
    timeouts_s: Timeouts = Timeouts()
    retries: Retries = Retries()
    circuit_breakers: CircuitBreakers = CircuitBreakers()
    limits: dict[str, Limits] = Field(default_factory=dict)
    """By tool, `*` as in file names; the first that fits counts."""
    sinks: dict[str, dict[str, TrustWord]] = Field(default_factory=dict)
    """By tool, likewise, and JSON pointer of an argument: the trust it needs, beside what the tool
    says itself, and never less."""
    sensitive: tuple[str, ...] = ()
    """Tools, `*` as in file names, whose calls are on record in the audit before they leave."""
    approvals: dict[str, Approval] = Field(default_factory=dict)
    """By tool, likewise. Without one: `always` for a write that a model proposed, else what is
    usual for the tool (config/policy_approvals.py), or `never`."""


class Spend(Part):
    """Ceilings on what is spent in one UTC day, by the database's clock; None: none."""

    tenant_usd_per_day: Decimal | None = Field(default=None, ge=0)
    fleet_usd_per_day: Decimal | None = Field(default=None, ge=0)


class Labels(Part):
    """How far text from outside may reach into writes; see worker/labels/label.py."""

    max_bits: float = Field(default=12, ge=0)
    """What it may choose in one run, in bits: a choice among four is two of them."""


class Allowed(NamedTuple):
    """Whether a tool may be used, and the rule that says so."""

    allowed: bool
    rule: str
    """`tools.deny`, `tools.allow`, or `the pipeline` where the policy leaves it to that."""
    pattern: str = ""


class Policy(Part):
    """Everything in the file; what it leaves out has the safe default."""

    agent: Agent = Agent()
    tools: Tools = Tools()
    validation: Validation = Validation()
    logging: Logging = Logging()
    safe_mode: SafeMode = SafeMode()
    spend: Spend = Spend()
    labels: Labels = Labels()
    autonomy: Independence = Independence()
    egress: Egress = Egress()
    pipelines: dict[str, Overlay] = Field(default_factory=dict)
    tenants: dict[str, Overlay] = Field(default_factory=dict)
    """A tenant's overlay comes after its pipeline's."""

    def judge(self, tool: str) -> Allowed:
        """Whether `tool` may be used at all. Deny wins."""
        for pattern in self.tools.deny:
            if fnmatchcase(tool, pattern):
                return Allowed(allowed=False, rule="tools.deny", pattern=pattern)
        if self.tools.allow is None:
            return Allowed(allowed=True, rule="the pipeline")
        for pattern in self.tools.allow:
            if fnmatchcase(tool, pattern):
                return Allowed(allowed=True, rule="tools.allow", pattern=pattern)
        return Allowed(allowed=False, rule="tools.allow")

    def limits(self, tool: str) -> Limits | None:
        """The first entry of `tools.limits` that fits, or None."""
        return next((
            each for pattern, each in self.tools.limits.items() if fnmatchcase(tool, pattern)
        ), None)  # fmt: skip

    def sinks(self, tool: str) -> dict[str, TrustWord]:
        """The first entry of `tools.sinks` that fits."""
        return next((
            each for pattern, each in self.tools.sinks.items() if fnmatchcase(tool, pattern)
        ), {})  # fmt: skip

    def approval(self, tool: str) -> Approval | None:
        """The first entry of `tools.approvals` that fits, else what is usual for it, or None."""
        return next((
            each for pattern, each in self.tools.approvals.items() if fnmatchcase(tool, pattern)
        ), USUAL.get(tool))  # fmt: skip

    def of(self, tenant: str, pipeline: str) -> "Policy":
        """The policy as it stands for one tenant and pipeline."""
        overlays = (self.pipelines.get(pipeline), self.tenants.get(tenant))
        found = self
        for each in filter(None, overlays):
            found = found.under(each)
        return found

    def under(self, overlay: Overlay) -> "Policy":
        """The policy with an overlay on top.

        Raises:
            ValidationError: Together they say what no policy says.
        """
        said = self.model_dump(exclude={"pipelines", "tenants"})
        merged = over(said, overlay.model_dump(exclude_defaults=True))
        named = {"pipelines": self.pipelines, "tenants": self.tenants}
        return Policy.model_validate(merged | named)
