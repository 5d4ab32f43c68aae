"""How the tests' ticket desk misbehaves: what a test may set, and how chance is drawn."""

import random
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
Schema = Annotated[int, Field(ge=1, le=2)]


class Fault(StrEnum):
    """What may become of one POST."""

    RESET_BEFORE = "reset_before"  # nothing happens, and the connection is reset
    REFUSE_429 = "refuse_429"  # nothing happens, and the answer says when to come again
    CREATE_THEN_502 = "create_then_502"  # these four: the ticket is opened, and the answer lost
    CREATE_THEN_RESET = "create_then_reset"
    HALF_ANSWER = "half_answer"
    HANG = "hang"
    DRIFT = "schema"  # the ticket is opened, and told in other words than the contract's

    @property
    def effect(self) -> bool:
        return self not in {Fault.RESET_BEFORE, Fault.REFUSE_429}


_DRAWN = tuple(fault for fault in Fault if fault is not Fault.DRIFT)


class Faults(BaseModel, extra="forbid", frozen=True):
    """The shares are of all POSTs; together they are at most 1."""

    seed: int = 0
    dedupe: bool = False
    """A key that has opened a ticket gets that ticket again; else each POST opens another."""
    reset_before: Share = 0
    refuse_429: Share = 0
    retry_after_s: int = Field(default=1, ge=0)
    create_then_502: Share = 0
    create_then_reset: Share = 0
    half_answer: Share = 0
    hang: Share = 0
    hang_s: Seconds = 30
    """An answer that hangs is given after so long."""
    latency_s: Seconds = 0
    """Every request waits for so long before anything happens."""
    sees_after_s: Seconds = 0
    """GET does not show tickets younger than this."""
    schema_: Schema = Field(default=1, alias="schema")
    """2: whoever opens a ticket is told in other words than the contract's."""
    lookup_schema: Schema = 1
    """2: so is whoever looks."""

    @model_validator(mode="after")
    def _shares_are_parts_of_a_whole(self) -> Self:
        if sum(getattr(self, fault) for fault in _DRAWN) > 1 + 1e-9:
            raise ValueError("the shares of the faults are more than 1 together")
        return self

    def fate(self, external_ref: str, number: int) -> Fault | None:
        """What becomes of a reference's POST with this number, whoever sends it and when.

        So two systems that file the same tickets at two desks of one seed meet the same faults.
        """
        chance = random.Random(f"{self.seed}:{external_ref}:{number}").random()  # noqa: S311  # repeatable
        for fault in _DRAWN:
            chance -= getattr(self, fault)
            if chance < 0:
                return fault
        return Fault.DRIFT if self.schema_ > 1 else None
