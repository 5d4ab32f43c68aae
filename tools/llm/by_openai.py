"""The interface that OpenAI has and many others speak: providers, and servers of one's own."""

import httpx2
from openai import AsyncOpenAI
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai import OpenAIProvider

from config.endpoint import Endpoint

_KNOWS_THE_NEWER_CAP = {"api.openai.com"}
"""Others take the older name of the cap; one that is not understood is no cap at all."""


def model(endpoint: Endpoint, http: httpx2.AsyncClient) -> Model:
    """The endpoint's model; it repeats nothing by itself."""
    client = AsyncOpenAI(
        base_url=str(endpoint.base_url), api_key="none", max_retries=0, http_client=http
    )
    newer = endpoint.base_url.host in _KNOWS_THE_NEWER_CAP
    return OpenAIChatModel(
        endpoint.model,
        provider=OpenAIProvider(openai_client=client),
        profile=OpenAIModelProfile(
            openai_chat_supports_max_completion_tokens=newer, supports_json_schema_output=True
        ),
    )


def login(key: str) -> dict[str, str]:
    """The header that says who we are, before what others would say."""
    return {"Authorization": f"Bearer {key or 'none'}"}
