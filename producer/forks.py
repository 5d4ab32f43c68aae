"""Forks over HTTP: a new run from a step of one that is over."""

from typing import Any

from aiohttp import web

from models.fork import Fork, NoSuchRun, fork
from models.refusal import plain
from models.run import RunStatus
from producer.problems import Malformed, Unknown
from producer.runs import KEY_HEADER, answer, object_of, read_key, run_id_of
from producer.state import STATE

_FIELDS = frozenset({"from", "version", "input", "writes_again"})


async def post_fork(request: web.Request) -> web.Response:
    """POST /v1/runs/{id}/fork: a new run with this one's record up to the step `from`.

    `writes_again` says that what this one wrote from there on may be written once more.
    """
    state = request.app[STATE]
    tenant = await state.doorman.tenant(request)
    fields = object_of(await request.read())
    if unknown := fields.keys() - _FIELDS:
        told = plain(", ".join(sorted(unknown))[:200])
        raise Malformed(f"unknown fields: {told}; known: {', '.join(sorted(_FIELDS))}")
    try:
        receipt = await fork(
            Fork(
                run_id_of(request),
                _typed(fields, "from", str),
                read_key(request.headers.get(KEY_HEADER)),
                who=tenant,
                tenant=tenant,
                version=_typed(fields, "version", int, None),
                input=fields.get("input"),
                writes_again=_typed(fields, "writes_again", bool, default=False),
            )
        )
    except NoSuchRun as unknown_run:
        raise Unknown(unknown_run.detail) from None
    if not receipt.replayed:
        state.bell.ring()
    told_of = {"run_id": str(receipt.run_id), "replayed": receipt.replayed}
    if not receipt.replayed:
        told_of["status"] = RunStatus.QUEUED
    headers = {"Location": f"/v1/runs/{receipt.run_id}"}
    return answer(told_of, status=202, headers=headers)


_NEEDED = object()


def _typed(fields: dict[str, Any], name: str, kind: type, default: Any = _NEEDED) -> Any:
    """A field of the body, of exactly this JSON type."""
    value = fields.get(name, default)
    if value is _NEEDED:
        raise Malformed(f"a fork needs {name!r}: the first step that is made anew")
    if value is not default and type(value) is not kind:
        raise Malformed(f"{name!r} is {kind.__name__} in JSON", pointer=f"/{name}")
    return value
