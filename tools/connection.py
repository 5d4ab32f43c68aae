"""A tool's connection: the tenant's own, else everybody's, else what the tool's settings say."""

import asyncio
from dataclasses import dataclass, field
from time import monotonic
from weakref import WeakKeyDictionary

import asyncpg

from models import connection
from models.connection import Target
from models.database import is_open
from models.run import StopReason
from tools.http import Wire
from tools.secret import NoSecret, read_secret
from tools.tool import Call, Rejected, Unavailable

KEPT_S = 5.0
"""For how long an answer holds: as late as this a worker hears of a change, also of a secret's."""
_MOST = 10_000


@dataclass(slots=True)
class _Known:
    """What was found for one tenant and name."""

    wire: Wire | None = None
    until: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


_known: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], _Known]] = (
    WeakKeyDictionary()
)


async def wire(call: Call, name: str, *, default: Wire | None = None) -> Wire | None:
    """The way to the target that this call's tenant calls `name`.

    Raises:
        Rejected: As tool_auth_failed: its secret is not there. The sentence names the reference.
        Unavailable: The database did not say in time.
    """
    known, key = _known.setdefault(asyncio.get_running_loop(), {}), (call.tenant, name)
    here = known.get(key)
    if here is None:
        if len(known) > _MOST:
            known.clear()
        here = known[key] = _Known()
    if here.until < monotonic():
        try:
            async with _in_time(call), here.lock:  # the first asks for all who came at once
                if here.until < monotonic():
                    here.wire = await _ask(call.tenant, name)
                    here.until = monotonic() + KEPT_S
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            said = type(error).__name__
            raise Unavailable(f"Where {name} is, the database did not say: {said}.") from error
    return here.wire or default


def _in_time(call: Call) -> asyncio.Timeout:
    """Until the call may no longer leave: whoever waited longer would look as if it had left."""
    return asyncio.timeout(max(min(call.deadline, call.send_before) - monotonic(), 0.0))


def forget() -> None:
    """Ask anew, as after five seconds."""
    _known.clear()


async def _ask(tenant: str, name: str) -> Wire | None:
    if not is_open():  # a process without a database has no connections
        return None
    target = await connection.find(tenant, name)
    return None if target is None else await _wire(target)


async def _wire(target: Target) -> Wire:
    login = None
    if target.secret:
        try:
            login = target.login, await asyncio.to_thread(read_secret, target.secret)
        except NoSecret as error:
            whose = "everybody" if target.tenant == connection.EVERYBODY else target.tenant
            told = f"The connection {target.name} of {whose} cannot be used: {error}."
            raise Rejected(told, reason=StopReason.TOOL_AUTH_FAILED) from None
    try:
        return Wire(target.base_url, login=login, private=target.private)
    except ValueError as error:
        raise Rejected(f"The connection {target.name} cannot be used: {error}.") from None
