"""The tools of a cloud: look, estimate, keep a snapshot, shut down, and start again."""

from decimal import Decimal

from config.settings import DAY_S
from tools.cloud.form import (
    Estimate,
    Instance,
    InstanceId,
    Shutdown,
    SnapshotRef,
    Start,
    Started,
    State,
    Stopped,
    protecting,
)
from tools.cloud.provider import cloud
from tools.tool import Call, Effect, Lookup, Rejected, Sighting, Snapshot, ToolError, Undo, tool
from tools.trust import Trust

_OF_IT = {"/instance_id": Trust.TRUSTED}
"""Text from outside never chooses which instance."""


@tool(
    "cloud.instance",
    effect=Effect.READ,
    timeout_s=10,
    trusted=("/instance_id", "/state", "/monthly_usd"),
)
async def instance(args: InstanceId, call: Call) -> Instance:
    """An instance: its state, its tags, what it costs a month."""
    return await (await cloud(call)).instance(args.instance_id, call)


@tool(
    "cloud.estimate",
    effect=Effect.READ,
    timeout_s=10,
    trusted=("/instance_id", "/state", "/would_save_usd"),
)
async def estimate(args: InstanceId, call: Call) -> Estimate:
    """What shutting an instance down would save a month; it changes nothing."""
    found = await (await cloud(call)).instance(args.instance_id, call)
    return Estimate(
        instance_id=found.instance_id,
        state=found.state,
        would_save_usd=found.monthly_usd if found.state is State.RUNNING else Decimal(0),
    )


async def rehearse_shutdown(args: Shutdown, call: Call) -> Stopped:
    """A shutdown that changes nothing: it is refused where the real one would be."""
    found = await (await cloud(call)).instance(args.instance_id, call)
    if tag := protecting(found.tags):
        raise Rejected(f"{args.instance_id} is tagged {tag!r}, so it is never shut down")
    if found.monthly_usd != args.would_save_usd:
        raise Rejected(f"{args.instance_id} costs {found.monthly_usd} USD a month by now")
    return Stopped(
        instance_id=found.instance_id,
        state=found.state,
        saves_usd=args.would_save_usd,
        dry_run=True,
    )


async def _kept(args: InstanceId, call: Call) -> Sighting[SnapshotRef]:
    made = await (await cloud(call)).snapshot_made(args.instance_id, call)
    return Sighting(Lookup.ABSENT) if made is None else Sighting(Lookup.FOUND, made)


@tool(
    "cloud.snapshot",
    effect=Effect.WRITE,
    timeout_s=60,
    key_kept_for_s=DAY_S,
    lookup=_kept,
    sinks=_OF_IT,
    trusted=("/snapshot_id", "/instance_id"),
)
async def snapshot(args: InstanceId, call: Call) -> SnapshotRef:
    """Keep the disks of an instance as they are."""
    return await (await cloud(call)).snapshot(args.instance_id, call)


async def _started(args: Start, call: Call) -> Sighting[Started]:
    state = await _state(args.instance_id, call)
    if state is not State.RUNNING:
        return Sighting(Lookup.UNKNOWN if state is None else Lookup.ABSENT)
    return Sighting(Lookup.FOUND, Started(instance_id=args.instance_id, state=state))


@tool(
    "cloud.start",
    effect=Effect.WRITE,
    timeout_s=60,
    key_kept_for_s=DAY_S,
    lookup=_started,
    sinks=_OF_IT | {"/snapshot_id": Trust.TRUSTED},
    trusted=("/instance_id", "/state"),
)
async def start(args: Start, call: Call) -> Started:
    """Start an instance again; one that runs goes on running."""
    return await (await cloud(call)).start(args, call)


async def _stopped(args: Shutdown, call: Call) -> Sighting[Stopped]:
    state = await _state(args.instance_id, call)
    if state is not State.STOPPED:
        return Sighting(Lookup.UNKNOWN if state is None else Lookup.ABSENT)
    saves = args.would_save_usd
    return Sighting(
        Lookup.FOUND, Stopped(instance_id=args.instance_id, state=state, saves_usd=saves)
    )


def _back(_asked: Shutdown, got: Stopped, kept: SnapshotRef) -> dict[str, str]:
    return {"instance_id": got.instance_id, "snapshot_id": kept.snapshot_id}


@tool(
    "cloud.shutdown",
    effect=Effect.WRITE,
    timeout_s=60,
    key_kept_for_s=DAY_S,
    lookup=_stopped,
    rehearse=rehearse_shutdown,
    sinks=_OF_IT | {"/would_save_usd": Trust.TRUSTED},
    trusted=("/instance_id", "/state", "/saves_usd"),
    undo=Undo(
        start,
        _back,
        snapshot=Snapshot(snapshot, lambda asked: {"instance_id": asked.instance_id}),
    ),
)
async def shutdown(args: Shutdown, call: Call) -> Stopped:
    """Shut an instance down. One that is tagged as production or critical never is."""
    return await (await cloud(call)).stop(args, call)


async def _state(instance_id: str, call: Call) -> State | None:
    """None where the cloud does not say."""
    try:
        return (await (await cloud(call)).instance(instance_id, call)).state
    except ToolError:
        return None
