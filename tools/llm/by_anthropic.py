"""The interface of Anthropic; its library is the extra `anthropic`."""

import httpx2
from anthropic import AsyncAnthropic
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.providers.anthropic import AnthropicProvider

from config.endpoint import Endpoint


def model(endpoint: Endpoint, http: httpx2.AsyncClient) -> Model:
    """The endpoint's model; it repeats nothing by itself."""
    client = AsyncAnthropic(
        base_url=str(endpoint.base_url), api_key="none", max_retries=0, http_client=http
    )
    return AnthropicModel(
        endpoint.model,
        provider=AnthropicProvider(anthropic_client=client),
        profile=ModelProfile(supports_json_schema_output=True),
    )


def login(key: str) -> dict[str, str]:
    """The header that says who we are, before what others would say."""
    return {"X-Api-Key": key or "none"}
