"""A provider: one endpoint, asked through its client; imported when a model is first asked.

One HTTP request for each question: the SDK repeats nothing, follows no redirect, and takes no proxy
or key from the environment. The model gets no tools; the one in mode `tool` is its answer's form.
"""

from importlib import import_module
from typing import Any

import httpx2
from pydantic import SecretStr
from pydantic_ai.direct import model_request
from pydantic_ai.exceptions import AgentRunError
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from config.endpoint import Endpoint
from models.run import StopReason
from tools.llm.failure import failure
from tools.llm.outcome import Answered, Failure
from tools.llm.prompt import Completion, Finish, Prompt
from tools.llm.transport import Bounded

_INTERFACES = {"openai": "tools.llm.by_openai", "anthropic": "tools.llm.by_anthropic"}
_CONNECT_S = 5.0
_MOST_AT_ONCE = 1024
"""As many runs as a worker carries; who wants fewer says so in the policy's `tools.limits`."""
_MOST_TOKENS = 100_000_000
"""Whoever counts more has not counted; our columns have an end as well."""
_ANSWER = "answer"
_FINISH = {"length": Finish.LENGTH, "content_filter": Finish.REFUSED}


class Provider:
    """Belongs to the loop that it is first used on.

    Raises:
        ImportError: The library of its interface is not installed.
    """

    key_is_good = False
    """False: it is to be read (again) before the next question."""

    def __init__(self, name: str, endpoint: Endpoint) -> None:
        self._name, self._endpoint, self._key = name, endpoint, ""
        self._http = httpx2.AsyncClient(
            transport=Bounded(limits=httpx2.Limits(max_connections=_MOST_AT_ONCE)),
            follow_redirects=False,
            trust_env=False,
            timeout=httpx2.Timeout(endpoint.timeout_s, connect=_CONNECT_S),
        )
        self._interface: Any = import_module(_INTERFACES[endpoint.api])
        self._model: Model = self._interface.model(endpoint, self._http)

    def use(self, key: SecretStr) -> None:
        """From now on, ask with this key; an empty one is none."""
        self._key, self.key_is_good = key.get_secret_value(), True

    async def ask(self, prompt: Prompt) -> Answered | Failure:
        """One request, one answer."""
        settings = ModelSettings(
            max_tokens=self._endpoint.max_tokens,
            timeout=httpx2.Timeout(self._endpoint.timeout_s, connect=_CONNECT_S),
            extra_headers={
                **self._interface.login(self._key),
                "Accept-Encoding": "identity",  # what is small stays small
            },
        )
        try:
            response = await model_request(
                self._model,
                _messages(prompt),
                model_settings=settings,
                model_request_parameters=_parameters(self._endpoint, prompt),
            )
        except AgentRunError as error:
            failed = failure(error, self._name, self._key)
            if failed.error.reason is StopReason.TOOL_AUTH_FAILED:
                self.key_is_good = False
            return failed
        return _answered(response)

    async def close(self) -> None:
        await self._http.aclose()


def _messages(prompt: Prompt) -> list[ModelMessage]:
    said: list[ModelMessage] = []
    for each in prompt.turns:
        if each.role == "user":
            part = UserPromptPart(content=each.text)
            said.append(ModelRequest(parts=[part], instructions=prompt.instructions))
        else:
            said.append(ModelResponse(parts=[TextPart(content=each.text)]))
    return said


def _parameters(endpoint: Endpoint, prompt: Prompt) -> ModelRequestParameters:
    if endpoint.output == "json_schema":
        wanted = OutputObjectDefinition(json_schema=prompt.answer, name=_ANSWER)
        return ModelRequestParameters(
            output_mode="native", output_object=wanted, allow_text_output=False
        )
    if endpoint.output == "tool":
        tool = ToolDefinition(name=_ANSWER, parameters_json_schema=prompt.answer, kind="output")
        return ModelRequestParameters(
            output_mode="tool", output_tools=[tool], allow_text_output=False
        )
    return ModelRequestParameters(output_mode="text", allow_text_output=True)


def _answered(response: ModelResponse) -> Answered:
    used = response.usage
    completion = Completion(
        text="".join(map(_text, response.parts)),
        finish=_FINISH.get(response.finish_reason or "", Finish.STOP),
        model=(response.model_name or "")[:200],
        tokens_in=min(max(used.input_tokens, 0), _MOST_TOKENS),
        tokens_out=min(max(used.output_tokens, 0), _MOST_TOKENS),
    )
    # An endpoint that counts no tokens where there are some has not counted.
    return Answered(completion, used.input_tokens > 0 and used.output_tokens > 0)


def _text(part: Any) -> str:
    if isinstance(part, TextPart):
        return part.content
    if isinstance(part, ToolCallPart) and part.tool_name == _ANSWER:
        return part.args_as_json_str()
    return ""
