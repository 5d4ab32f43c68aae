"""A pipeline through which secrets pass every way there is; and what they are."""

from typing import Any

from pydantic import BaseModel

from models.budget import Budget
from tools.tool import Call, Contract, Effect, Rejected, Unavailable, tool
from worker.flow import Flow
from worker.pipeline import Catalogue, pipeline

POLICY = """
logging:
  level: debug
  redact: [iban]
  redact_patterns: ["KD-[0-9]{6}"]
  include: [run_id, step, tool, args_hash, status]
"""
DATA = {
    "headers": {"Authorization": "Basic YTpoZWFkZXItc2VjcmV0", "Cookie": "sid=cookie-secret"},
    "api_key": "key-secret",
    "items": [{"access_token": {"value": "token-secret"}}],
    "iban": "DE-policy-name-secret",
    "text": "sent with Bearer bearer-secret-1, for customer KD-123456, see postgres://me:url-secret@db",
}
"""As it stands in inputs, arguments, results and proposals."""
TOLD = (
    "refused {'Cookie': 'sid=told-cookie; b=told-second', \"api_key\": \"told-key\"}"
    " Authorization: Bearer told-bearer iban=told-iban KD-654321"
)
"""As an error tells it."""
SECRETS = (
    "YTpoZWFkZXItc2VjcmV0", "cookie-secret", "key-secret", "token-secret", "policy-name-secret",
    "bearer-secret-1", "KD-123456", "url-secret",
    "told-cookie", "told-second", "told-key", "told-bearer", "told-iban", "KD-654321",
)  # fmt: skip


class Leak(BaseModel, extra="forbid"):
    how: str
    data: dict[str, Any]


class Leaked(Contract):
    data: dict[str, Any]


@tool("leak.read", effect=Effect.READ, timeout_s=5, retries=0)
async def read(args: Leak, call: Call) -> Leaked:
    if args.how == "rejected":
        raise Rejected(TOLD)
    if args.how == "away":
        raise Unavailable(TOLD, retry_after_s=3600)
    return Leaked(data=args.data)


@pipeline("leak", version=1, tools=[read], budget=Budget(steps=2))
async def leak(flow: Flow, given: Leak) -> Leaked:
    got = await flow.call("read", read, how=given.how, data=given.data)
    await flow.partial(got)
    if given.how == "raise":
        raise ValueError(TOLD)
    if given.how == "ask":
        return await flow.ask("person", about=got, reason=TOLD)
    if given.how == "partial":
        for step in "ab":
            await flow.call(step, read, how=step, data=given.data)
    return got


PIPELINES: Catalogue = {(leak.name, leak.version): leak}
WAYS = ("result", "rejected", "away", "raise", "ask", "partial")
