"""The policy's part on autonomy: how much a pipeline may do by itself, and what more asks for."""

from typing import Literal

from pydantic import Field

from config.policy_part import Part

LevelWord = Literal["observe", "reversible", "act"]


class Bar(Part):
    """What a pipeline must have shown since its level was last changed."""

    fewest: int = Field(ge=1)
    """Proposals and approvals that people have decided."""
    precision: float = Field(gt=0, le=1)
    """Of those, the share that they approved just as it was."""
    reversals: float = Field(ge=0, le=1)
    """Of the writes it made, the share that was taken back, at most."""


class Promote(Part):
    """The bar before each level. The numbers are ours: a start, measured nowhere."""

    reversible: Bar = Bar(fewest=50, precision=0.95, reversals=0.02)
    act: Bar = Bar(fewest=200, precision=0.98, reversals=0.01)

    def bar(self, level: LevelWord) -> Bar | None:
        """None: nothing is asked for the lowest."""
        return {"observe": None, "reversible": self.reversible, "act": self.act}[level]


class Independence(Part):
    """How much a pipeline may do by itself; see models/autonomy.py for the levels."""

    level: LevelWord = "act"
    """Nothing goes beyond it, whatever it was promoted to."""
    initial: LevelWord = "act"
    """Of a pipeline for which nobody has set a level yet."""
    promote: Promote = Promote()
