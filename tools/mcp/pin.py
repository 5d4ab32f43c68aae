"""A pin: one tool of a server as a person has read it, and what that person says of it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, PlainSerializer

from tools.mcp import effect, schema
from tools.mcp.canonical import digest
from tools.mcp.schema import NoContract, Schema
from tools.tool import Effect
from tools.trust import Trust

TOOL_NAME = r"[A-Za-z0-9_./-]{1,128}"
_TIMEOUT_S = 30.0


class LockError(ValueError):
    """A lock file cannot be used; the sentence says why, and what to do."""


class _Part(BaseModel, frozen=True, extra="forbid"):
    """Unknown fields are refused: a misspelt word of the operator must not be lost."""


class Word(_Part):
    """What an operator says of a tool. It lowers nothing that the server admits, unless trusted."""

    effect: Effect | None = None
    key_kept_for_s: float | None = Field(default=None, gt=0)
    """A repeat with our key, or with the same arguments, is harmless for so long: hence a WRITE."""
    open_world: bool | None = None
    errors: Literal["refused", "doubt"] | None = None
    """What an error of a write means: it did nothing, or nobody knows."""
    timeout_s: float | None = Field(default=None, gt=0)
    cost_usd: Annotated[Decimal, Field(ge=0), PlainSerializer(str)] | None = None
    result: Schema | None = None
    """The contract of a tool that has none."""
    sinks: dict[str, Literal["trusted", "endorsed", "untrusted"]] | None = None
    """By JSON pointer, the trust that an argument needs; what it leaves out needs to be trusted."""


class Definition(_Part):
    """A tool as its server lists it; what the hash is made of."""

    name: Annotated[str, Field(pattern=f"^{TOOL_NAME}$")]
    title: str | None = None
    description: str | None = None
    input: Schema
    output: Schema | None = None
    annotations: dict[str, Any] | None = None

    def sha256(self) -> str:
        """Over the canonical JSON (RFC 8785) of all of it."""
        return digest(self.model_dump(mode="json"))


class Pin(_Part):
    """One tool in a lock file."""

    tool: str
    """`server.tool`: its name here."""
    effect: Effect
    why: str
    """Whose word the effect rests on."""
    open_world: bool
    contract: str
    """Where the contract of its result comes from, or why there is none."""
    operator: Word = Word()
    sha256: str
    definition: Definition

    def errors_are_doubt(self, *, trusted: bool) -> bool:
        """Whether an error of a write leaves open if it happened. Only a server that is trusted,
        or an operator, is believed that it did not."""
        return not trusted if self.operator.errors is None else self.operator.errors == "doubt"

    @property
    def ruled(self) -> tuple[str, Effect, bool]:
        """What follows from the definition and the operator's word."""
        return self.tool, self.effect, self.open_world

    @property
    def timeout_s(self) -> float:
        return self.operator.timeout_s or _TIMEOUT_S

    @property
    def sinks(self) -> dict[str, Trust] | None:
        """What its arguments need: the operator's word, else of a write all trust; of a read that
        speaks with the world, as much as a choice among few has."""
        if self.operator.sinks is not None:
            return {place: Trust[word.upper()] for place, word in self.operator.sinks.items()}
        if self.effect is not Effect.READ:
            return {}
        return {"": Trust.ENDORSED} if self.open_world else None

    @property
    def cost_usd(self) -> Decimal:
        return self.operator.cost_usd or Decimal(0)

    @property
    def result(self) -> Schema:
        """The schema of its result: the operator's where there is one."""
        return self.operator.result or self.definition.output or {}


def pin(server: str, definition: Definition, word: Word, *, trusted: bool) -> Pin:
    """Rule on a tool: its effect, and whether its result has a contract.

    One without a strict contract cannot be used by a run: it is for people, so DESTRUCTIVE.
    """
    hints: Mapping[str, Any] = definition.annotations or {}
    harmless = word.key_kept_for_s is not None
    ruled = effect.rule(hints, word.effect, trusted=trusted, harmless=harmless)
    contract, usable = _contract(definition, word)
    if not usable:
        ruled = effect.Ruled(Effect.DESTRUCTIVE, "for review only: it has no contract")
    return Pin(
        tool=f"{server}.{definition.name}",
        effect=ruled.effect,
        why=ruled.why,
        open_world=effect.open_world(hints, word.open_world, trusted=trusted),
        contract=contract,
        operator=word,
        sha256=definition.sha256(),
        definition=definition,
    )


def _contract(definition: Definition, word: Word) -> tuple[str, bool]:
    try:
        schema.arguments("Arguments", definition.input, "")
    except NoContract as error:
        return f"none: of its arguments {error}", False
    said = word.result or definition.output
    if said is None:
        return "none: it does not say what it answers", False
    try:
        schema.result("Result", said)
    except NoContract as error:
        return f"none: {error}", False
    return ("the operator's" if word.result else "its own"), True
