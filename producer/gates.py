"""The gate over HTTP: how it stands, and flipping it."""

import asyncio
import time
from typing import Any

import orjson
from aiohttp import web

from models.gate import Flip, GateMode, flip, gates
from models.refusal import plain
from models.request import read_json
from models.scope import FLEET, POLICY
from models.standstill import Standstill, standstill, stopped
from producer.auth import Caller
from producer.problems import Forbidden, Malformed
from producer.redacted import said
from producer.state import ANSWER_BY, STATE

_FIELDS = frozenset({"scope", "mode", "reason"})
_LISTED = 100
_FLIPPING_SHARE = 0.5
"""Of the time for an answer: the rest is for the wait until nothing starts."""
_LAST_LOOK_S = 0.3


async def get_gate(request: web.Request) -> web.Response:
    """GET /v1/gate: every scope that the caller may know of.

    A tenant sees how the fleet's and its own stand; who did it and why is for operators.
    """
    caller = await request.app[STATE].doorman.caller(request)
    own = f"tenant:{caller.tenant}"
    shown = []
    for row in await gates():
        if caller.operator or (row["scope"] == own and _by(row, caller)):
            shown.append(_view(row) | _standing(await standstill(row["scope"]), caller))
        elif row["scope"] in {FLEET, POLICY, own}:
            shown.append({name: row[name] for name in ("scope", "mode", "changed_at")})
    return web.Response(body=orjson.dumps({"gates": shown}), content_type="application/json")


async def put_gate(request: web.Request) -> web.Response:
    """PUT /v1/gate: flip a scope's gate; answered once no write behind it starts any more.

    Send {"scope": "fleet", "mode": "open" | "read_only" | "closed", "reason": "..."}. `state` is
    then `stopped` or `drained`; GET says when the one has become the other.
    """
    state = request.app[STATE]
    caller = await state.doorman.caller(request)
    scope, mode, reason = _read(await request.read())
    await _refuse(caller, scope)
    left_s = request[ANSWER_BY] - asyncio.get_running_loop().time()
    try:
        done = await flip(
            scope, mode, who=caller.who, reason=reason, patience_s=_FLIPPING_SHARE * left_s
        )
    except ValueError as error:
        raise Malformed(str(error)) from None
    since = time.monotonic()
    answer: dict[str, Any] = {**done._asdict()}
    if mode is GateMode.OPEN:
        state.bell.ring()
    else:
        answer |= _standing(await _stopped(done, since, request), caller)
    return web.Response(body=orjson.dumps(answer), content_type="application/json")


async def _stopped(done: Flip, since: float, request: web.Request) -> Standstill:
    """As far as it comes in the time that an answer may take; then `stopping`."""
    left_s = request[ANSWER_BY] - asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(left_s - _LAST_LOOK_S):
            return await stopped(done.scope, since, epoch=done.epoch)
    except TimeoutError:
        return await standstill(done.scope, just_flipped=True)


def _read(body: bytes) -> tuple[str, GateMode, str]:
    fields = read_json(body)
    if not isinstance(fields, dict):
        raise Malformed("the body must be a JSON object")
    if unknown := fields.keys() - _FIELDS:
        told = plain(", ".join(sorted(unknown))[:200])
        raise Malformed(f"unknown fields: {told}; known: mode, reason, scope")
    scope, mode, reason = (fields.get(name) for name in ("scope", "mode", "reason"))
    if not isinstance(mode, str) or mode not in set(GateMode):
        raise Malformed(f"mode is one of {', '.join(GateMode)}", pointer="/mode")
    for name, value in (("scope", scope), ("reason", reason)):
        if not isinstance(value, str) or not value.strip() or plain(value) != value:
            raise Malformed(f"{name} is needed, a text", pointer=f"/{name}")
    return str(scope), GateMode(mode), str(reason)[:500]


async def _refuse(caller: Caller, scope: str) -> None:
    if scope == POLICY:
        raise Forbidden("the policy's gate is flipped by its file alone: safe_mode.enabled")
    if not caller.operator and scope != f"tenant:{caller.tenant}":
        raise Forbidden(
            f"this key flips tenant:{caller.tenant} alone; an operator's key flips the others"
        )
    rows = [] if caller.operator else await gates()
    if any(
        row["scope"] == scope and row["mode"] != "open" and not _by(row, caller) for row in rows
    ):
        raise Forbidden("an operator has shut it, and an operator opens it")


def _by(row: Any, caller: Caller) -> bool:
    """Whether this tenant has put it, and not an operator."""
    return bool(row["who"].startswith(f"tenant {caller.tenant}, with key "))


def _view(row: Any) -> dict[str, Any]:
    told = {name: row[name] for name in ("scope", "mode", "epoch", "who", "reason", "changed_at")}
    return told | {"reason": said(row["reason"])}


def _standing(found: Standstill, caller: Caller) -> dict[str, Any]:
    doubts = [each for each in found.in_doubt if caller.operator or each.tenant == caller.tenant]
    return {
        "state": found.word,
        "may_start": found.may_start,
        "under_way": found.may_travel,
        "in_doubt": [
            {"run_id": str(each.run_id), "step": each.step, "tool": each.tool}
            for each in doubts[:_LISTED]
        ],
        "in_doubt_count": len(doubts),
    }
