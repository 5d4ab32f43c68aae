"""A language model as a tool: a read that costs, each call another amount.

What it may cost at most is reserved before the request, and what it did cost is booked with its
outcome. Where that cannot be known (a timeout, half an answer, a worker that died, an endpoint that
does not count) all that was reserved is booked: nobody ever pays more than a budget says.
"""

import asyncio
import hashlib
import time
from decimal import Decimal
from functools import cache
from typing import Any

import asyncpg
import structlog
from pydantic_core import to_json

from config.endpoint import Endpoint
from models import transcript
from models.run import StopReason
from models.transcript import MODEL
from tools.llm import clients
from tools.llm.outcome import Answered, Failure
from tools.llm.price import Unpriced, price
from tools.llm.prompt import Completion, Prompt
from tools.secret import NoSecret
from tools.tool import Call, Effect, Rejected, Tool, Unavailable
from tools.worst import Worst

log = structlog.get_logger()

_LONGEST_S = 300.0
"""An endpoint's settings say less, and the policy may."""
_ZERO = Worst(Decimal(0))
_DENIED = StopReason.TOOL_DENIED


@cache
def language_model(name: str) -> Tool[Prompt, Completion]:
    """The model that this installation's settings call `name`; a pipeline declares it like any
    tool. Whether there is one, and what it costs, is looked up when it is asked."""

    async def run(args: Prompt, call: Call) -> Completion:
        return await _ask(name, args, call)

    return Tool(
        name=MODEL + name,
        effect=Effect.READ,
        takes=Prompt,
        gives=Completion,
        run=run,
        timeout_s=_LONGEST_S,
        cost_usd=_ZERO.usd,
        retries=2,
        key_kept_for_s=0,
        poll=True,  # what it says goes in circles only where the calls that it proposes do
        worst=lambda args: _worst(_endpoint(name), args),
    )


def _endpoint(name: str) -> Endpoint:
    found = clients.endpoint(name)
    if found is None:
        raise Rejected(f"no setting names a model {name!r}: SLUICE_MODELS", reason=_DENIED)
    return found


def _worst(at: Endpoint, prompt: Prompt) -> Worst:
    tokens = prompt.most_tokens()
    try:
        return Worst(price(at).usd(tokens, at.max_tokens), tokens + at.max_tokens)
    except Unpriced as error:
        raise Rejected(str(error), reason=_DENIED) from None


async def _ask(name: str, prompt: Prompt, call: Call) -> Completion:
    at = _endpoint(name)
    worst, begun = _worst(at, prompt), time.monotonic()
    try:
        came = await _answer(name, at, prompt)
    except asyncio.CancelledError:  # its deadline, or its run's end
        _book(call, worst)
        raise
    if isinstance(came, Failure):
        used = worst if came.billed else _ZERO
    else:
        used = _used(at, came, worst)
    _book(call, used)
    await _keep(_line(call, at, prompt, came, used=used, took_s=time.monotonic() - begun))
    if isinstance(came, Answered):
        return came.completion
    raise came.error


async def _answer(name: str, at: Endpoint, prompt: Prompt) -> Answered | Failure:
    try:
        provider = await clients.provider(name, at)
    except NoSecret as error:
        told = f"model.{name} cannot be asked: {error}."
        return Failure(Rejected(told, reason=StopReason.TOOL_AUTH_FAILED), billed=False)
    except ImportError as error:
        told = f"model.{name} needs what is not installed ({error.name}): pip install '.[{at.api}]'"
        return Failure(Rejected(told, reason=StopReason.MODEL_FAILED), billed=False)
    try:
        async with asyncio.timeout(at.timeout_s):
            came: Answered | Failure = await provider.ask(prompt)
    except TimeoutError:
        told = f"model.{name} did not answer within {at.timeout_s:g} s"
        return Failure(Unavailable(told, reason=StopReason.TOOL_TIMEOUT), billed=True)
    return came


def _used(at: Endpoint, came: Answered, worst: Worst) -> Worst:
    """What the endpoint has counted; more than was reserved is an overrun, and told as one."""
    said = came.completion
    if not came.counted:
        return worst
    return Worst(price(at).usd(said.tokens_in, said.tokens_out), said.tokens_in + said.tokens_out)


def _book(call: Call, used: Worst) -> None:
    call.spent(used.usd)
    call.tokens.append(used.tokens)


def _line(
    call: Call,
    at: Endpoint,
    prompt: Prompt,
    came: Answered | Failure,
    *,
    used: Worst,
    took_s: float,
) -> transcript.Line:
    put = {
        "instructions": prompt.instructions,
        "turns": [each.model_dump() for each in prompt.turns],
        "answer": prompt.answer,
        "max_tokens": at.max_tokens,
    }
    said: Any
    if isinstance(came, Answered):
        said, counts = {"text": came.completion.text, "finish": came.completion.finish}, came[0]
    else:
        said, counts = {"failure": str(came.error), "reason": came.error.reason}, None
    return transcript.Line(
        run_id=call.run_id,
        step=call.step,
        tool=call.tool,
        asked=at.model,
        reported=counts.model if counts else "",
        prompt=to_json(call.redact(put)),
        prompt_hash=hashlib.sha256(to_json(put)).digest(),
        response=to_json(call.redact(said)),
        tokens_in=counts.tokens_in if counts else 0,
        tokens_out=counts.tokens_out if counts else 0,
        latency_ms=round(took_s * 1000),
        cost_usd=used.usd,
        prices=price(at).table,
    )


async def _keep(line: transcript.Line) -> None:
    """A transcript that cannot be written loses no answer: it is paid for."""
    try:
        await transcript.keep(line)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        log.error("transcript.lost", step=line.step, error=repr(error)[:300])  # noqa: TRY400  # the trace says no more
