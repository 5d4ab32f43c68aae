"""A part of the policy: nothing in it can be changed, and nothing unknown can be said."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
