"""What a tool is: a typed async function plus the facts that safety needs."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from config.policy_egress import Reach
from models.run import StopReason
from tools.signature import signature
from tools.trust import Trust
from tools.worst import Worst

A = TypeVar("A", bound=BaseModel)
R = TypeVar("R", bound=BaseModel)


class Effect(StrEnum):
    """What a call leaves behind, which decides what may be done when it is in doubt."""

    READ = "read"  # nothing: repeat at will
    WRITE = "write"  # the target honours our key: a repeat changes nothing more
    WRITE_ONCE = "write_once"  # a repeat does it twice: never repeat on doubt, look it up
    DESTRUCTIVE = "destructive"  # never executed by a run: it becomes a proposal


class Contract(BaseModel):
    """The base of arguments and results: unknown fields are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Call:
    """All that a tool may know of the run that calls it."""

    run_id: UUID
    tenant: str
    step: str
    key: str
    """`run:step`, minted by us and sent to the target, so that it can tell a repeat."""
    deadline: float
    """On the monotonic clock: an answer after it is not waited for."""
    send_before: float = float("inf")
    """On the monotonic clock: a write may not start to leave after it."""
    tool: str = ""
    egress: Reach = field(default=Reach(), compare=False)
    """Whom the policy lets this tool's requests reach, beside its own target."""
    redact: Callable[[Any], Any] = field(default=str, compare=False, repr=False)
    """The policy's, for what a tool writes down by itself."""
    bill: list[Decimal] = field(default_factory=list, compare=False, repr=False)
    tokens: list[int] = field(default_factory=list, compare=False, repr=False)
    """What this try has used of a language model."""

    def spent(self, usd: Decimal) -> None:
        """Tell what the target charged for this try, in place of the tool's `cost_usd`.

        Several amounts add up. Less than was reserved goes back; more is an overrun: booked, told,
        and never refused. Whoever was charged says so before raising, too."""
        if not (usd.is_finite() and usd >= 0):
            raise ValueError(f"a charge is an amount in US dollars of 0 or more, not {usd}")
        self.bill.append(usd)


class Lookup(StrEnum):
    """What a target says when it is asked whether an earlier write reached it."""

    FOUND = "found"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Sighting(Generic[R]):
    """The answer of a look-up: the effect that an earlier try left behind, if it is known."""

    seen: Lookup
    result: R | None = None


async def unknowable(_args: Any, _call: Call) -> Sighting[Any]:
    """The look-up of a target that cannot be asked: a person decides every doubt."""
    return Sighting(Lookup.UNKNOWN)


class ToolError(Exception):
    """What may the gateway do next?

    - Rejected      the target refused, and would refuse again
    - Unavailable   it did nothing, and may work later
    - Ambiguous     it may or may not have happened
    """

    reason: StopReason = StopReason.TOOL_FAILED
    status: int | None = None
    """The HTTP status it was told by, if that was how."""

    def __init__(self, message: str, *, reason: StopReason | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


class Rejected(ToolError):
    """The target refused the call and would refuse it again."""


class Unavailable(ToolError):
    """The target did nothing; the same call may work later."""

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, reason: StopReason | None = None
    ) -> None:
        super().__init__(message, reason=reason)
        self.retry_after_s = retry_after_s


class Ambiguous(ToolError):
    """The call left us and no answer came back: it may or may not have happened."""


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[A]):
    """What is kept before a write, of what that is asked; a pipeline declares its tool as well."""

    tool: "Tool[Any, Any]"
    arguments: Callable[[A], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Undo(Generic[A, R]):
    """How a write is taken back: by another write, with arguments made of what was asked and got.

    It must take back what it is told even when it has been taken back already: an undo may be
    sent twice like any other write.
    """

    tool: "Tool[Any, Any]"
    arguments: Callable[..., Mapping[str, Any]]
    """Of what was asked and got, and of what the snapshot gave, where there is one."""
    snapshot: Snapshot[A] | None = None
    """What is kept before the write; where that fails, the write is not made."""


@dataclass(frozen=True, slots=True)
class Tool(Generic[A, R]):
    """One thing a run may do outside, and what the gateway must know to guard it."""

    name: str
    effect: Effect
    takes: type[A]
    gives: type[R]
    run: Callable[[A, Call], Awaitable[R]]
    timeout_s: float
    cost_usd: Decimal
    retries: int
    """How often one attempt of a run repeats a call that was `Unavailable`."""
    key_kept_for_s: float
    """WRITE: for how long the target remembers our key. A resend after that is a new write."""
    lookup: Callable[[A, Call], Awaitable[Sighting[R]]] | None = field(default=None)
    sees_after_s: float = 0.0
    """WRITE_ONCE: how late the target's look-up sees a write."""
    undo: Undo[A, R] | None = None
    poll: bool = False
    """Its answer is expected to stay the same for a while: asking again is no loop."""
    sinks: Mapping[str, Trust] | None = None
    """By JSON pointer, the least trust that an argument's value needs; what it leaves out needs to
    be trusted. None: the tool takes whatever a pipeline binds."""
    trusted: tuple[str, ...] = ()
    """JSON pointers of its result that are no text from outside: ids, times."""
    about: str = ""
    """What it does, as a model is told."""
    worst: Callable[[A], Worst] | None = None
    """Where each call costs another amount: the most that one try may use. A try that was sent and
    never heard of again is then charged all of it."""
    rehearse: Callable[[A, Call], Awaitable[R]] | None = None
    """A dry run: what would come of a write, found out without changing anything. Where a pipeline
    may not write, it goes on with that."""

    def __post_init__(self) -> None:
        if self.effect is Effect.WRITE and self.key_kept_for_s <= 0:
            raise TypeError(
                f"{self.name} is a WRITE and must say with key_kept_for_s for how long its target"
                " remembers a key; a target that does not is a WRITE_ONCE"
            )
        if self.effect is Effect.WRITE_ONCE and self.lookup is None:
            raise TypeError(
                f"{self.name} is a WRITE_ONCE and must say with lookup= how an earlier effect is"
                " found; lookup=unknowable says that nobody but a person can tell"
            )
        undoes = self.undo.tool.effect if self.undo else Effect.WRITE
        if not (self.undo is None or self.writes) or undoes in {Effect.READ, Effect.DESTRUCTIVE}:
            raise TypeError(f"{self.name}: only a write can be undone, and only by another write")
        first = self.undo.snapshot if self.undo else None
        if first is not None and first.tool.effect is Effect.DESTRUCTIVE:
            raise TypeError(f"{self.name}: what destroys is no snapshot")
        if self.rehearse is not None and not self.writes:
            raise TypeError(f"{self.name} is a READ: there is nothing to rehearse")
        if self.timeout_s <= 0:
            raise TypeError(f"{self.name} needs a timeout_s above zero, not {self.timeout_s:g}")

    @property
    def writes(self) -> bool:
        return self.effect is not Effect.READ


def tool(
    name: str,
    *,
    effect: Effect,
    timeout_s: float,
    cost_usd: Decimal = Decimal(0),
    retries: int = 2,
    key_kept_for_s: float = 0.0,
    lookup: Callable[[Any, Call], Awaitable[Sighting[Any]]] | None = None,
    sees_after_s: float = 0.0,
    undo: Undo[Any, Any] | None = None,
    poll: bool = False,
    sinks: Mapping[str, Trust] | None = None,
    trusted: tuple[str, ...] = (),
    rehearse: Callable[[Any, Call], Awaitable[Any]] | None = None,
) -> Callable[[Callable[[A, Call], Awaitable[R]]], Tool[A, R]]:
    """Make a tool of `async def run(args: A, call: Call) -> R`; its annotations are its contract.

    Raises:
        TypeError: At import, when the function or its effect does not say what safety needs.
    """

    def declare(run: Callable[[A, Call], Awaitable[R]]) -> Tool[A, R]:
        takes, gives = signature(name, run)
        return Tool(
            name=name, effect=effect, takes=takes, gives=gives, run=run, timeout_s=timeout_s,
            cost_usd=cost_usd, retries=retries, key_kept_for_s=key_kept_for_s, lookup=lookup,
            sees_after_s=sees_after_s, undo=undo, poll=poll, sinks=sinks, trusted=trusted,
            rehearse=rehearse, about=" ".join((run.__doc__ or "").split()),
        )  # fmt: skip

    return declare
