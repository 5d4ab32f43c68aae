"""A cloud over HTTP: a small interface, for a gateway of one's own in front of a provider's.

    GET  /instances/ID                     {id, name, state, tags, monthly_usd}
    GET  /instances/ID/snapshots?key=KEY   {"snapshots": [{id}]}: those made under a key
    POST /instances/ID/snapshots           201 {id}
    POST /instances/ID/stop                {if_monthly_usd, unless_tagged} -> {state}
    POST /instances/ID/start               {snapshot_id} -> {state}

Each POST has an `Idempotency-Key`, which the cloud keeps for a day at least: a repeat gets the
first answer and changes nothing. `stop` holds its two conditions against the instance at the very
moment in which it stops it, and answers 409 with `code` `changed` or `protected`; 409 `busy` means
later.
`samples/cloud.py` is one to try.
"""

import asyncio
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from config.settings import settings
from models.run import StopReason
from tools import connection
from tools.cloud.form import (
    PROTECTED,
    Id,
    Instance,
    Money,
    Shutdown,
    SnapshotRef,
    Start,
    Started,
    State,
    Stopped,
    Tag,
)
from tools.http import Reply, Wire
from tools.secret import NoSecret, read_secret
from tools.tool import Ambiguous, Call, Rejected, ToolError, Unavailable

CONNECTION = "cloud"
M = TypeVar("M", bound=BaseModel)


class Cloud:
    """One cloud, as one user. The gateway's key goes along with each write by itself."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def instance(self, instance_id: str, call: Call) -> Instance:
        reply = await self._wire.send("GET", f"instances/{instance_id}", call=call, writes=False)
        found = _read(_Instance, reply.body, Rejected)
        if found.id != instance_id:
            raise _outside(Rejected, f"the instance {instance_id}", "another one")
        return Instance(instance_id=found.id, **found.model_dump(exclude={"id"}))

    async def snapshot(self, instance_id: str, call: Call) -> SnapshotRef:
        reply = await self._post(instance_id, "snapshots", {}, call)
        made = _read(_Snapshot, reply.body, Ambiguous)
        return SnapshotRef(snapshot_id=made.id, instance_id=instance_id)

    async def snapshot_made(self, instance_id: str, call: Call) -> SnapshotRef | None:
        """The one that was made under this call's key, if one was."""
        reply = await self._wire.send(
            "GET", f"instances/{instance_id}/snapshots", call=call, writes=False,
            query={"key": call.key},
        )  # fmt: skip
        made = _read(_Snapshots, reply.body, Rejected).snapshots
        return SnapshotRef(snapshot_id=made[0].id, instance_id=instance_id) if made else None

    async def stop(self, args: Shutdown, call: Call) -> Stopped:
        """Shut it down, unless it is protected or its cost is no longer what was said.

        Its tags may have changed since somebody looked, so the cloud itself holds them against
        the rail.
        """
        told = {"if_monthly_usd": str(args.would_save_usd), "unless_tagged": list(PROTECTED)}
        reply = await self._post(args.instance_id, "stop", told, call)
        state = _read(_State, reply.body, Ambiguous).state
        return Stopped(instance_id=args.instance_id, state=state, saves_usd=args.would_save_usd)

    async def start(self, args: Start, call: Call) -> Started:
        told = {"snapshot_id": args.snapshot_id}
        reply = await self._post(args.instance_id, "start", told, call)
        return Started(
            instance_id=args.instance_id, state=_read(_State, reply.body, Ambiguous).state
        )

    async def _post(self, instance_id: str, verb: str, told: Any, call: Call) -> Reply:
        path = f"instances/{instance_id}/{verb}"
        reply = await self._wire.send("POST", path, call=call, writes=True, json=told)
        if reply.status != HTTPStatus.CONFLICT:
            return reply
        said = reply.body if isinstance(reply.body, dict) else {}
        why = self._wire.excerpt(str(said.get("message") or "it does not say why"))
        if said.get("code") == "busy":
            raise Unavailable(f"the cloud is busy with it: {why}")
        raise Rejected(f"the cloud refused to {verb} {instance_id}: {why}")


async def cloud(call: Call) -> Cloud:
    """The cloud of this call's tenant: an operator's connection, or else the settings'.

    Raises:
        Rejected: There is none (tool_denied), or its secret is not there (tool_auth_failed).
    """
    wire = await connection.wire(call, CONNECTION)
    own = settings().cloud
    if wire is None and own.url is None:
        raise Rejected(
            "no cloud is connected: `sluice connections set cloud`, or SLUICE_CLOUD__URL; `python"
            " -m samples.cloud` is one to try",
            reason=StopReason.TOOL_DENIED,
        )
    if wire is None:
        try:
            secret = await asyncio.to_thread(read_secret, own.secret) if own.secret else None
        except NoSecret as error:
            told = f"The cloud of SLUICE_CLOUD__URL cannot be used: {error}."
            raise Rejected(told, reason=StopReason.TOOL_AUTH_FAILED) from None
        wire = Wire(str(own.url), login=("", secret) if secret else None)
    return Cloud(wire)


# The parts of the cloud's answers that we use.


class _Instance(BaseModel):
    id: Id
    name: str = ""
    state: State
    tags: tuple[Tag, ...]
    monthly_usd: Money


class _Snapshot(BaseModel):
    id: Id


class _Snapshots(BaseModel):
    snapshots: list[_Snapshot] = Field(max_length=1_000)


class _State(BaseModel):
    state: State


def _read(model: type[M], body: Any, otherwise: type[ToolError]) -> M:
    """A write that was answered so may have happened; a read says nothing."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, each["loc"])) for each in error.errors()[:3])
        raise _outside(otherwise, model.__name__.strip("_").lower(), places) from None


def _outside(made: type[ToolError], what: str, where: str) -> ToolError:
    told = f"the cloud's answer is not what its interface says of {what}: {where}"
    return made(told, reason=StopReason.TOOL_OUTPUT_INVALID)
