"""Reviews over HTTP: what waits for a person, and the verdict."""

from typing import Any
from uuid import UUID

import orjson
from aiohttp import web

from models.database import hot
from models.request import Malformed as NoJson
from models.request import read_json
from models.review import DoubtVerdict, Verdict
from models.verdict import answer
from producer.problems import Malformed, Unknown
from producer.redacted import restored, said, shown
from producer.state import STATE

_OPEN = """
    SELECT id, run_id, step, kind, question, proposal, answer_schema, asked_at, decide_by
      FROM review WHERE tenant = $1 AND verdict IS NULL ORDER BY asked_at, id LIMIT 500
"""
_VERDICTS: dict[str, Verdict | DoubtVerdict] = {
    each: each for each in (Verdict.APPROVED, Verdict.EDITED, Verdict.REJECTED, *DoubtVerdict)
}
_FIELDS = frozenset({"verdict", "answer", "note", "who"})


async def get_reviews(request: web.Request) -> web.Response:
    """GET /v1/reviews: what of this tenant waits for a person, oldest first; secrets are hidden.

    An edited answer may leave what is hidden as it is: it is put back.
    """
    tenant = await request.app[STATE].doorman.tenant(request)
    rows = await hot().fetch(_OPEN, tenant)
    listed = [
        dict(row)
        | {
            "id": str(row["id"]),
            "run_id": str(row["run_id"]),
            "question": said(row["question"]),
            "proposal": shown(row["proposal"]),
            "answer_schema": orjson.Fragment(row["answer_schema"] or b"null"),
        }
        for row in rows
    ]
    return web.Response(body=orjson.dumps({"reviews": listed}), content_type="application/json")


async def post_verdict(request: web.Request) -> web.Response:
    """POST /v1/reviews/{id}/verdict: decide once; 409 when somebody else has."""
    state = request.app[STATE]
    tenant = await state.doorman.tenant(request)
    review, given = _read(request, await request.read())
    row = await hot().fetchrow("SELECT tenant, proposal FROM review WHERE id = $1", review)
    if row is None or row["tenant"] != tenant:
        raise Unknown("no review of yours has this id")
    whole = orjson.loads(row["proposal"] or b"null")
    run_id = await answer(
        review,
        _VERDICTS[given["verdict"]],
        who=str(given.get("who") or tenant)[:100],
        value=restored(given.get("answer"), whole, shown(row["proposal"])),
        note=given.get("note"),
    )
    state.bell.ring()
    return web.Response(
        body=orjson.dumps({"run_id": str(run_id), "verdict": given["verdict"]}),
        content_type="application/json",
    )


def _read(request: web.Request, body: bytes) -> tuple[UUID, dict[str, Any]]:
    try:
        review, given = UUID(request.match_info["id"]), read_json(body)
    except (ValueError, NoJson) as error:
        raise Malformed(f"not a review id with a JSON verdict: {error}") from None
    if not isinstance(given, dict) or given.keys() - _FIELDS:
        raise Malformed(f"a verdict is an object of {', '.join(sorted(_FIELDS))}")
    if not isinstance(given.get("verdict"), str) or given["verdict"] not in _VERDICTS:
        raise Malformed(f"verdict is one of {', '.join(sorted(_VERDICTS))}", pointer="/verdict")
    for name in ("note", "who"):
        told = given.get(name)
        if told is not None and not (isinstance(told, str) and "\x00" not in told):
            raise Malformed(f"{name} is a text", pointer=f"/{name}")
    return review, given
