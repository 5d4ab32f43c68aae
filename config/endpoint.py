"""An endpoint: a language model that an operator has named, where it answers and what it costs."""

from decimal import Decimal
from typing import Literal, Self

from pydantic import BaseModel, Field, HttpUrl, model_validator

OutputMode = Literal["json_schema", "tool", "prompt"]
SECRET = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)?$"
"""A reference to a secret, or none."""


class Endpoint(BaseModel, frozen=True, extra="forbid"):
    """One endpoint, a provider's or a server of one's own."""

    api: Literal["openai", "anthropic"] = "openai"
    """Whose interface it has; Anthropic's own needs the extra `anthropic`."""
    base_url: HttpUrl
    """Such as https://api.openai.com/v1 or http://127.0.0.1:11434/v1."""
    model: str = Field(min_length=1, max_length=200)
    """As the endpoint calls it."""
    secret: str = Field(default="", pattern=SECRET)
    """Where the key is: `env:NAME` or `file:/path` of the worker; never the key itself."""
    usd_per_million_in: Decimal | None = Field(default=None, ge=0)
    usd_per_million_out: Decimal | None = Field(default=None, ge=0)
    """Both, or neither: then it is looked up in the pinned table. 0 on purpose: a server of one's
    own. A model without any price is refused."""
    max_tokens: int = Field(default=1024, ge=1)
    """The longest answer: it is sent along, and reserved."""
    timeout_s: float = Field(default=60, gt=0, le=300)
    output: OutputMode = "json_schema"
    """How the endpoint is told the answer's schema: as its own response format, as a tool that it
    must use, or in the prompt alone. What comes back is validated by us in any case."""

    @model_validator(mode="after")
    def _two_prices_or_none(self) -> Self:
        if (self.usd_per_million_in is None) != (self.usd_per_million_out is None):
            raise ValueError("usd_per_million_in and usd_per_million_out go together")
        return self
