"""Requests over HTTP: what became of a key."""

import orjson
from aiohttp import web

from models.database import hot
from models.refusal import plain, shown
from producer.problems import Unknown
from producer.redacted import said
from producer.state import STATE

_ACCEPTED = "SELECT run_id, created_at FROM request_key WHERE tenant = $1 AND key = $2"
_REFUSED = """
    SELECT code, detail, refused_at FROM refusal
     WHERE tenant = $1 AND key = $2 ORDER BY refused_at DESC LIMIT 1
"""


async def get_request(request: web.Request) -> web.Response:
    """GET /v1/requests/{key}: accepted (and which run), refused (and why), or unknown (404).

    A key that was refused and accepted later is accepted. What still waits in the broker is
    unknown here until a worker has read it.
    """
    state = request.app[STATE]
    tenant = await state.doorman.tenant(request)
    key = request.match_info["key"]
    accepted = await hot().fetchrow(_ACCEPTED, tenant, key) if key == plain(key) else None
    refused = None if accepted else await hot().fetchrow(_REFUSED, tenant, shown(key))
    if accepted:
        found = {"state": "accepted", "run_id": str(accepted["run_id"])}
        found["accepted_at"] = accepted["created_at"]
    elif refused:
        found = {"state": "refused", "code": refused["code"], "detail": said(refused["detail"])}
        found["refused_at"] = refused["refused_at"]
    else:
        raise Unknown("no request of yours has this key, or it has not been read yet")
    return web.Response(body=orjson.dumps(found), content_type="application/json")
