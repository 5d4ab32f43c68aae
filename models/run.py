"""The run: the one execution of one request."""

from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, Column, Float, Identity, Index, Integer, SmallInteger, Text, text
from sqlmodel import Field, SQLModel

from models.autonomy import Autonomy
from models.columns import document, usd, when, word


class RunStatus(StrEnum):
    """What the machinery may do with the run next."""

    QUEUED = "queued"  # any worker may claim it from `dispatch_at` on  -> running, finished
    RUNNING = "running"  # one worker holds its lease   -> queued, waiting, finished
    WAITING = "waiting"  # `waiting_for` says for what  -> queued, finished
    FINISHED = "finished"  # over; `stop_reason` says why


class Severity(StrEnum):
    NONE = "none"
    NOTICE = "notice"
    WARNING = "warning"
    CRITICAL = "critical"


class StopReason(StrEnum):
    """Why a run is over. For people and clients: names are only ever added."""

    SUCCESS = "success"
    STEP_BUDGET = "step_budget"
    TOOL_BUDGET = "tool_budget"
    TIME_BUDGET = "time_budget"
    COST_BUDGET = "cost_budget"
    TOKEN_BUDGET = "token_budget"
    LOOP_DETECTED = "loop_detected"
    NO_PROGRESS = "no_progress"
    TOOL_DENIED = "tool_denied"
    TOOL_TIMEOUT = "tool_timeout"
    TOOL_RATE_LIMIT = "tool_rate_limit"
    TOOL_OUTPUT_INVALID = "tool_output_invalid"
    TOOL_AUTH_FAILED = "tool_auth_failed"
    TOOL_FAILED = "tool_failed"
    CIRCUIT_OPEN = "circuit_open"
    MODEL_OUTPUT_INVALID = "model_output_invalid"
    MODEL_FAILED = "model_failed"
    REVIEW_REJECTED = "review_rejected"
    REVIEW_EXPIRED = "review_expired"
    IN_DOUBT = "in_doubt"
    REPLAY_MISMATCH = "replay_mismatch"
    SAFE_MODE = "safe_mode"
    CANCELLED = "cancelled"
    CRASHES_EXHAUSTED = "crashes_exhausted"
    INTERNAL_ERROR = "internal_error"
    INVALID_INPUT = "invalid_input"
    PROPOSED = "proposed"

    @property
    def facts(self) -> "StopFacts":
        return STOP_FACTS[self]


class StopFacts(NamedTuple):
    """What a person on call, and a client, need to know of a stop reason."""

    severity: Severity
    pages: bool
    """Whether on-call is woken."""
    retry_helps: bool
    """Whether the client may expect another outcome of the same request under a new key."""


_NONE, _NOTICE, _WARNING, _CRITICAL = Severity
STOP_FACTS: dict[StopReason, StopFacts] = {
    StopReason.SUCCESS: StopFacts(_NONE, pages=False, retry_helps=False),
    StopReason.STEP_BUDGET: StopFacts(_NOTICE, pages=False, retry_helps=False),
    StopReason.TOOL_BUDGET: StopFacts(_NOTICE, pages=False, retry_helps=False),
    StopReason.TIME_BUDGET: StopFacts(_NOTICE, pages=False, retry_helps=True),
    StopReason.COST_BUDGET: StopFacts(_NOTICE, pages=False, retry_helps=False),
    StopReason.TOKEN_BUDGET: StopFacts(_NOTICE, pages=False, retry_helps=False),
    StopReason.LOOP_DETECTED: StopFacts(_WARNING, pages=False, retry_helps=False),
    StopReason.NO_PROGRESS: StopFacts(_WARNING, pages=False, retry_helps=False),
    StopReason.TOOL_DENIED: StopFacts(_WARNING, pages=False, retry_helps=False),
    StopReason.TOOL_TIMEOUT: StopFacts(_WARNING, pages=False, retry_helps=True),
    StopReason.TOOL_RATE_LIMIT: StopFacts(_NOTICE, pages=False, retry_helps=True),
    StopReason.TOOL_OUTPUT_INVALID: StopFacts(_WARNING, pages=False, retry_helps=False),
    StopReason.TOOL_AUTH_FAILED: StopFacts(_CRITICAL, pages=True, retry_helps=False),
    StopReason.TOOL_FAILED: StopFacts(_WARNING, pages=False, retry_helps=False),
    StopReason.CIRCUIT_OPEN: StopFacts(_WARNING, pages=False, retry_helps=True),
    StopReason.MODEL_OUTPUT_INVALID: StopFacts(_WARNING, pages=False, retry_helps=True),
    StopReason.MODEL_FAILED: StopFacts(_WARNING, pages=False, retry_helps=True),
    StopReason.REVIEW_REJECTED: StopFacts(_NONE, pages=False, retry_helps=False),
    StopReason.REVIEW_EXPIRED: StopFacts(_NOTICE, pages=False, retry_helps=True),
    StopReason.IN_DOUBT: StopFacts(_CRITICAL, pages=True, retry_helps=False),
    StopReason.REPLAY_MISMATCH: StopFacts(_CRITICAL, pages=True, retry_helps=True),
    StopReason.SAFE_MODE: StopFacts(_NOTICE, pages=False, retry_helps=True),
    StopReason.CANCELLED: StopFacts(_NONE, pages=False, retry_helps=False),
    StopReason.CRASHES_EXHAUSTED: StopFacts(_CRITICAL, pages=True, retry_helps=False),
    StopReason.INTERNAL_ERROR: StopFacts(_CRITICAL, pages=True, retry_helps=False),
    StopReason.INVALID_INPUT: StopFacts(_NOTICE, pages=False, retry_helps=False),
    StopReason.PROPOSED: StopFacts(_NONE, pages=False, retry_helps=False),
}


PAGING = tuple(reason for reason, facts in STOP_FACTS.items() if facts.pages)
"""What wakes on-call."""


class WaitingFor(StrEnum):
    """What a waiting or snoozed run stands for."""

    REVIEW = "review"
    GATE = "gate"
    RATE = "rate"
    SPEND = "spend"  # a window of the tenant or the fleet is spent
    BREAKER = "breaker"  # its tool is ill: tried again when that may be over
    DOUBT = "doubt"
    TOOL = "tool"
    FIX = "fix"  # it raised: a bug, tried again with growing delay
    WORKER = "worker"  # its worker shut down; any other may go on


class Run(SQLModel, table=True):
    """One row, guarded and never held: every transition is one UPDATE on (status, attempt)."""

    id: UUID = Field(primary_key=True)
    seq: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), nullable=False)
    )
    """The order of admission; runs on one subject go by it."""
    tenant: str = Field(sa_type=Text)
    key: str | None = Field(default=None, sa_type=Text)
    """The request's, for whoever looks from here; `request_key` is what makes it once. Null in rows
    that a process of the version before has admitted beside us."""
    pipeline: str = Field(sa_type=Text)
    version: int
    input: Any = document(nullable=False)
    subject: str | None = Field(default=None, sa_type=Text)
    budget: Any = document(nullable=False)
    priority: int = Field(default=5, sa_type=SmallInteger)
    """0 goes first, 9 last, among the runs of one tenant."""
    status: RunStatus = Field(default=RunStatus.QUEUED, sa_type=word(RunStatus))
    waiting_for: WaitingFor | None = Field(default=None, sa_type=word(WaitingFor))
    attempt: int = Field(default=0, sa_type=Integer)
    """The fence: it only grows, and only the latest attempt may write."""
    crashes: int = Field(default=0, sa_type=SmallInteger)
    bugs: int = Field(default=0, sa_type=SmallInteger)
    worker: UUID | None = None
    lease_expires_at: datetime | None = when()
    dispatch_at: datetime | None = when(default="now()")
    """Not before, and nothing else."""
    stop_reason: StopReason | None = Field(default=None, sa_type=word(StopReason))
    detail: str | None = Field(default=None, sa_type=Text)
    """For people: one sentence on why it stopped or waits."""
    error: Any = document()
    """The traceback of the last bug."""
    partial: Any = document()
    result: Any = document()
    steps: int = Field(default=0, sa_type=Integer)
    calls: int = Field(default=0, sa_type=Integer)
    tokens: int = Field(default=0, sa_type=BigInteger)
    reserved_usd: Any = usd()
    spent_usd: Any = usd()
    active_s: float = Field(default=0, sa_type=Float)
    created_at: datetime | None = when(nullable=False, default="now()")
    started_at: datetime | None = when()
    finished_at: datetime | None = when()
    gate_scope: str | None = Field(default=None, sa_type=Text)
    """Parked at the gate: whose. Null in rows of a worker of the version before: the fleet's."""
    gate_mode: str | None = Field(default=None, sa_type=Text)
    """And the mode that lets it go on: open, or read_only for what a closed gate held up."""
    autonomy: Autonomy | None = Field(default=None, sa_type=word(Autonomy))
    """Its own ceiling, asked for with the request: `observe` for a dry run."""
    level: Autonomy | None = Field(default=None, sa_type=word(Autonomy))
    """The lowest that any of its attempts had. Null before the first has left its worker."""
    cancel_requested_at: datetime | None = when()
    """Whoever holds the run sees it with its next heartbeat, and lets go."""
    forked_from: UUID | None = None
    """The run whose record it began with; see models/fork.py."""

    __table_args__ = (
        # What a claim asks for, each tenant's line in its own order.
        Index(
            "run_due",
            "tenant",
            "priority",
            "dispatch_at",
            "seq",
            postgresql_where=text("status = 'queued'"),
        ),
        Index("run_lease", "lease_expires_at", postgresql_where=text("status = 'running'")),
        # What an opened gate lets go: see worker/sweeper.py.
        Index(
            "run_at_gate",
            text("coalesce(gate_scope, 'fleet')"),
            text("coalesce(gate_mode, 'open')"),
            "id",
            postgresql_where=text("status = 'waiting' AND waiting_for = 'gate'"),
        ),
        Index("run_waiting", "waiting_for", postgresql_where=text("status = 'waiting'")),
        # What a closed breaker lets go: see models/breaker.py.
        Index(
            "run_at_breaker",
            "id",
            postgresql_where=text("status = 'queued' AND waiting_for = 'breaker'"),
        ),
        # Runs on one subject never overlap: started and unfinished at most once.
        Index(
            "run_one_per_subject",
            "tenant",
            "subject",
            unique=True,
            postgresql_where=text("subject IS NOT NULL AND attempt > 0 AND status <> 'finished'"),
        ),
        Index(
            "run_line",
            "tenant",
            "subject",
            "seq",
            postgresql_where=text("subject IS NOT NULL AND status <> 'finished'"),
        ),
        Index(
            "run_cancelled",
            "id",
            postgresql_where=text("cancel_requested_at IS NOT NULL AND status <> 'finished'"),
        ),
        # What wakes on-call; there should be none.
        Index(
            "run_paging",
            "finished_at",
            postgresql_where=text(
                f"stop_reason IN ({', '.join(f'{chr(39)}{each}{chr(39)}' for each in PAGING)})"
            ),
        ),
        # What is claimed alone, for the workers that held it have died.
        Index(
            "run_suspect",
            "dispatch_at",
            postgresql_where=text("status = 'queued' AND crashes >= 2"),
        ),
    )
