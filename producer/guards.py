"""Whether the guards are proven, over HTTP: the verdict for everybody, why for operators."""

from typing import Any

import orjson
from aiohttp import web

from models.guard import Guard, Standing, lacking, standing
from producer.auth import came_by_our_socket
from producer.state import STATE

_WELL, _ILL = 200, 503


async def get_guards(request: web.Request) -> web.Response:
    """GET /healthz/guards: 200 when each was proven lately, else 503.

    Without a key, or with a tenant's, `{"proven": bool}` is all there is: which guard is not
    proven is the first thing that somebody would like to know who means harm.
    """
    state = request.app[STATE]
    keyed = came_by_our_socket(request) or "Authorization" in request.headers
    operator = keyed and (await state.doorman.caller(request)).operator
    found = await standing()
    why = lacking(found, within_s=state.settings.api.guards_proven_within_s)
    told: dict[str, Any] = {"proven": not why}
    if operator:
        known = {each.name: each for each in found}
        told["guards"] = {
            each.value: _view(known.get(each), proven=each not in why) for each in Guard
        }
        told["reasons"] = [f"{guard}: {reason}" for guard, reason in why.items()]
    return web.Response(
        status=_ILL if why else _WELL,
        body=orjson.dumps(told),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _view(found: Standing | None, *, proven: bool) -> dict[str, Any]:
    if found is None:
        return {"proven": False, "proven_at": None, "refused": 0, "last_at": None, "told": ""}
    return {
        "proven": proven,
        "proven_at": found.proven_at if found.proven else None,
        "refused": found.refused,
        "last_at": found.last_at,
        "told": found.told,
    }
