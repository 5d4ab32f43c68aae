"""An extract: how an agent has something looked into that did not enter its window.

The text is shown to a decision that is asked about it alone. It knows neither the agent's goal nor
its history, it can call nothing, and all that comes out of it are the typed fields of its answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json

from worker.agents.complaint import Advice, Complaint, of_contract
from worker.decision import Decision
from worker.labels.declared import schema_of
from worker.labels.provenance import Provenance

_TOLD = 10
"""So many places, the latest, are told to whoever asks for one that is none."""


class Look(BaseModel):
    """What a model says to have something looked into."""

    model_config = ConfigDict(extra="forbid", strict=True)

    place: str = Field(description="as it stands in a `withheld` marker")


@dataclass(frozen=True)
class Extract:
    """A decision over a withheld text, as a model may ask for it."""

    decision: Decision[Any]
    """It is asked with one input, `text`."""
    chars: int = 20_000
    """It reads no more of a text than its beginning."""

    @property
    def name(self) -> str:
        return f"extract.{self.decision.name}"

    @property
    def takes(self) -> type[BaseModel]:
        return Look

    def shown(self) -> dict[str, Any]:
        """As the model sees it."""
        about = f"Look into what was withheld from you: {self.decision.prompt}"
        return {"name": self.name, "about": about, "arguments": schema_of(Look)}

    def objection(
        self, said: Mapping[str, Any], places: Sequence[str], provenance: Provenance, at: str
    ) -> Complaint | None:
        """What is wrong with this look: only what was withheld from this agent may be looked into,
        whatever else the run has come to."""
        try:
            place = Look.model_validate(said).place
            if place in places:
                self.text(provenance, place)
                return None
        except ValidationError as error:
            return of_contract(error, Look, f"{at}/arguments")[0]
        except ValueError:  # its serializer writes it otherwise than its contract says
            places = [each for each in places if each != place]
        return Complaint("unknown", Advice.RETRY, f"{at}/arguments/place", [*places[-_TOLD:]])

    def text(self, provenance: Provenance, place: str) -> str:
        """What stands there, as far as it is read."""
        value, _ = provenance.at(place)
        return (value if isinstance(value, str) else to_json(value).decode())[: self.chars]


def extract(decision: Decision[Any], *, chars: int = 20_000) -> Extract:
    """Let a model have withheld texts looked into, by a decision with the one input `text`."""
    return Extract(decision, chars)
