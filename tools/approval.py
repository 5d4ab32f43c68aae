"""An approval as a pipeline may know of it: who allowed a call that it has made."""

import asyncpg
from pydantic import Field

from models.database import hot
from tools.tool import Call, Contract, Effect, Unavailable, tool

_WHO = """
    SELECT who FROM review
     WHERE run_id = $1 AND step = $2 AND kind = 'approval' AND used_at IS NOT NULL
     ORDER BY used_at DESC LIMIT 1
"""


class Step(Contract):
    step: str = Field(min_length=1, max_length=300)
    """Of the same run."""


class Approver(Contract):
    who: str | None = Field(max_length=400)
    """None: nobody had to be asked."""


@tool("approval.read", effect=Effect.READ, timeout_s=5, trusted=("/who",))
async def read(args: Step, call: Call) -> Approver:
    """Who allowed a call of this run that was made."""
    try:
        return Approver(who=await hot().fetchval(_WHO, call.run_id, args.step))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        told = f"who approved {args.step}, the database did not say: {type(error).__name__}"
        raise Unavailable(told) from error
