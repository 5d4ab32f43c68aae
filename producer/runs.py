"""Runs over HTTP: asking for one, and looking at it."""

import asyncio
from typing import Any
from uuid import UUID

import orjson
from aiohttp import web

from models.autonomy import Autonomy
from models.cancel import cancel
from models.database import hot
from models.refusal import plain
from models.request import Refused, Request, read_json
from models.run import RunStatus, StopReason
from models.tombstone import tombstone
from producer.problems import Malformed, Unknown, problem_of
from producer.proposals import proposals_of
from producer.redacted import handed_out, said
from producer.state import STATE

KEY_HEADER = "Idempotency-Key"
BULK_LIMIT = 1000
_FIELDS = frozenset({"pipeline", "input", "subject", "priority", "dry_run"})

VIEW = """
    SELECT r.id, r.key, r.tenant, r.pipeline, r.version, r.subject, r.priority, r.status,
           r.waiting_for, r.stop_reason, r.detail, r.result, r.partial, r.steps, r.calls,
           r.tokens, r.spent_usd, r.active_s, r.attempt, r.crashes, r.created_at, r.started_at,
           r.finished_at, r.forked_from, r.autonomy, r.level,
           EXISTS (SELECT FROM review v WHERE v.run_id = r.id AND v.kind = 'proposal') AS proposes
      FROM run r
     WHERE r.id = $1 AND r.tenant = $2
"""


async def post_run(request: web.Request) -> web.Response:
    """POST /v1/runs: accept a request once; the same key gets the same run back."""
    state = request.app[STATE]
    tenant = await state.doorman.tenant(request)
    fields = object_of(await request.read())
    _refuse_unknown(fields.keys() - _FIELDS)
    wanted = _wanted(tenant, read_key(request.headers.get(KEY_HEADER)), fields)
    receipt = await state.admission(wanted)
    if not receipt.replayed:
        state.bell.ring()
        return answer(
            {"run_id": str(receipt.run_id), "status": RunStatus.QUEUED, "replayed": False},
            status=202,
            headers={"Location": f"/v1/runs/{receipt.run_id}"},
        )
    found = await shown(receipt.run_id, tenant)
    return answer(
        found | {"replayed": True},
        status=200 if found["status"] == RunStatus.FINISHED else 202,
        headers={"Location": f"/v1/runs/{receipt.run_id}", "Idempotent-Replayed": "true"},
    )


async def post_runs(request: web.Request) -> web.Response:
    """POST /v1/runs/bulk: many requests at once, each accepted or refused by itself."""
    state = request.app[STATE]
    tenant = await state.doorman.tenant(request)
    body = object_of(await request.read())
    listed = body.get("requests")
    if not isinstance(listed, list) or not 1 <= len(listed) <= BULK_LIMIT:
        raise Malformed(f"requests must be a list of 1 to {BULK_LIMIT}", pointer="/requests")

    async def one(fields: Any) -> dict[str, Any]:
        try:
            if not isinstance(fields, dict):
                raise Malformed("a request is an object")
            _refuse_unknown(fields.keys() - _FIELDS - {"idempotency_key"})
            receipt = await state.admission(_wanted(tenant, fields.get("idempotency_key"), fields))
        except Refused as refused:
            problem = problem_of(refused)
            return {"status": problem.status, "detail": problem.detail} | problem.more
        except Malformed as problem:
            return {"status": problem.status, "code": problem.code, "detail": problem.detail}
        return {"status": 202, "run_id": str(receipt.run_id), "replayed": receipt.replayed}

    receipts = await asyncio.gather(*(one(fields) for fields in listed))
    state.bell.ring()
    return answer({"receipts": receipts}, status=200)


async def get_run(request: web.Request) -> web.Response:
    """GET /v1/runs/{id}[?wait=seconds]: a run as it stands, or when it is over."""
    state = request.app[STATE]
    tenant = await state.doorman.tenant(request)
    run_id = run_id_of(request)
    wait_s = _wait_s(request.query.get("wait"), state.settings.api.wait_limit_s)
    until = asyncio.get_running_loop().time() + wait_s
    with state.waiting.on(run_id) as told:
        while True:
            told.clear()
            found = await shown(run_id, tenant)
            left_s = until - asyncio.get_running_loop().time()
            if found["status"] in {RunStatus.FINISHED, RunStatus.WAITING} or left_s <= 0:
                return answer(found, status=200)
            try:
                async with asyncio.timeout(left_s):
                    await told.wait()
            except TimeoutError:
                continue


async def post_cancel(request: web.Request) -> web.Response:
    """POST /v1/runs/{id}/cancel: end a run; 202 while its worker has yet to let go of it."""
    state = request.app[STATE]
    tenant = await state.doorman.tenant(request)
    run_id = run_id_of(request)
    body = await request.read()
    fields = object_of(body) if body else {}
    if unknown := fields.keys() - {"reason"}:
        raise Malformed(f"unknown fields: {plain(', '.join(sorted(unknown))[:200])}; known: reason")
    reason = fields.get("reason", "")
    if not isinstance(reason, str) or "\x00" in reason:
        raise Malformed("a reason is a text", pointer="/reason")
    await shown(run_id, tenant)
    status = await cancel(run_id, who=tenant, reason=reason, tenant=tenant)
    return answer(await shown(run_id, tenant), status=202 if status is RunStatus.RUNNING else 200)


def view(row: Any) -> dict[str, Any]:
    """A run as its client sees it."""
    reason = StopReason(row["stop_reason"]) if row["stop_reason"] else None
    shown = {
        "run_id": str(row["id"]),
        "idempotency_key": row["key"],
        "pipeline": row["pipeline"],
        "version": row["version"],
        "subject": row["subject"],
        "dry_run": row["autonomy"] == Autonomy.OBSERVE,
        "autonomy": row["level"],
        "status": row["status"],
        "waiting_for": row["waiting_for"],
        "stop_reason": reason,
        "detail": said(row["detail"]),
        "result": handed_out(row["result"]),
        "usage": {
            "steps": row["steps"],
            "calls": row["calls"],
            "tokens": row["tokens"],
            "usd": str(row["spent_usd"].normalize()),
            "active_s": round(row["active_s"], 3),
        },
        "attempts": row["attempt"],
        "crashes": row["crashes"],
        "created_at": row["created_at"],
        "started_at": row["started_at"],
        "finished_at": row["finished_at"],
    }
    if row["forked_from"] is not None:
        shown["forked_from"] = str(row["forked_from"])
    if reason is not None and reason is not StopReason.SUCCESS:
        shown["retry_helps"] = reason.facts.retry_helps
        if row["partial"] is not None:
            shown |= {"partial": True, "result": handed_out(row["partial"])}
    return shown


def read_key(header: str | None) -> str | None:
    """The key of an Idempotency-Key header: bare, or quoted as an RFC 8941 string."""
    if header is None:
        return None
    key = header.strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        return key[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return key


def run_id_of(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["id"])
    except ValueError:
        raise Malformed("a run id is a UUID") from None


async def shown(run_id: UUID, tenant: str) -> dict[str, Any]:
    """A run as its client sees it, or what is left of it."""
    row = await hot().fetchrow(VIEW, run_id, tenant)
    if row is not None:
        more = {"proposals": await proposals_of(run_id)} if row["proposes"] else {}
        return view(row) | more
    left = await tombstone(run_id, tenant)
    if left is None:
        raise Unknown("no run of yours has this id")
    return {
        "run_id": str(left["run_id"]),
        "idempotency_key": left["key"],
        "pipeline": left["pipeline"],
        "version": left["version"],
        "status": RunStatus.FINISHED,
        "stop_reason": left["stop_reason"],
        "purged": True,
        "created_at": left["created_at"],
        "finished_at": left["finished_at"],
        "purged_at": left["purged_at"],
    }


def _wanted(tenant: str, key: Any, fields: dict[str, Any]) -> Request:
    if "pipeline" not in fields or "input" not in fields:
        raise Malformed("a request needs `pipeline` and `input`")
    return Request(
        tenant=tenant,
        key=key,
        pipeline=fields["pipeline"],
        input=fields["input"],
        subject=fields.get("subject"),
        priority=fields.get("priority", 5),
        dry_run=fields.get("dry_run", False),
    )


def _refuse_unknown(unknown: set[str]) -> None:
    if unknown:
        told = plain(", ".join(sorted(unknown))[:200])
        raise Malformed(f"unknown fields: {told}; known: {', '.join(sorted(_FIELDS))}")


def object_of(body: bytes) -> dict[str, Any]:
    value = read_json(body)
    if not isinstance(value, dict):
        raise Malformed("the body must be a JSON object")
    return value


def _wait_s(text: str | None, limit_s: float) -> float:
    try:
        wait_s = float(text or 0)
    except ValueError:
        wait_s = -1
    if not 0 <= wait_s <= limit_s:
        raise Malformed(f"wait must be 0 to {limit_s:g} seconds")
    return wait_s


def answer(value: Any, *, status: int, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(value),
        content_type="application/json",
        headers=headers,
    )
