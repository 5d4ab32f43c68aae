"""Autonomy over HTTP: how much pipelines may do by themselves."""

from typing import Any

import orjson
from aiohttp import web

from config.settings import settings
from models import autonomy
from producer.redacted import rulebook_at, said
from producer.state import STATE


async def get_autonomy(request: web.Request) -> web.Response:
    """GET /v1/autonomy: what holds for the caller's runs of each pipeline.

    Operators also see every level that was set, by whom and why.
    """
    caller = await request.app[STATE].doorman.caller(request)
    rules = rulebook_at(settings().policy)
    rules.look()
    rows = await autonomy.rows()
    scopes = autonomy.by_scope(rows)
    told: dict[str, Any] = {
        "holds": {
            each: autonomy.holds(
                scopes, caller.tenant, each, rules.of(caller.tenant, each).autonomy
            )
            for each in await autonomy.pipelines()
        }
    }
    if caller.operator:
        told["levels"] = [
            {
                "tenant": row["tenant"],
                "pipeline": row["pipeline"],
                "level": row["level"],
                "who": row["who"],
                "reason": said(row["reason"]),
                "set_at": row["set_at"],
            }
            for row in rows
        ]
    return web.Response(body=orjson.dumps(told), content_type="application/json")
