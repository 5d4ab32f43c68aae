"""A server of somebody else, as this process uses it: connected when needed, held to its lock."""

import asyncio
import contextlib
from collections.abc import Mapping
from http import HTTPStatus
from time import monotonic
from typing import Any

import structlog
from mcp import MCPError
from mcp_types import CONNECTION_CLOSED

from models.run import StopReason
from tools.answers import excerpt
from tools.mcp.leaving import Leaving
from tools.mcp.link import Link
from tools.mcp.lock import Lock
from tools.mcp.outcome import fault, value
from tools.mcp.pin import Definition, Pin
from tools.tool import Call, Rejected, ToolError, Unavailable

log = structlog.get_logger()

FRESH_S = 60.0
"""After so long a server is asked again what it offers: not every one tells of a change."""


class Server:
    """One server; of the loop that it is first used on."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._link: Link | None = None
        """Connected, and looked at."""
        self._links: set[Link] = set()
        """All that have not ended; those that have left may have calls under way."""
        self._renewing: asyncio.Task[Link] | None = None
        self._changes = 0
        """How often it said that its tools have changed."""
        self._seen = -1
        """Of which changes we know what they came to."""
        self._hashed_at = float("-inf")
        self._shut: dict[str, str] = {}
        """Tools that are not what was pinned, each with why."""

    async def call(self, pin: Pin, arguments: dict[str, Any], call: Call, *, writes: bool) -> Any:
        """Use a tool; what comes back is still to be held against its contract.

        Raises:
            ToolError: As `tools.mcp.outcome` has it; `tool_denied` when it is not what was pinned.
        """
        its = Leaving(call, pin.tool, writes)
        link = await self._ready(its)
        if why := self._shut.get(pin.tool):
            raise Rejected(why, reason=StopReason.TOOL_DENIED)
        try:
            answer = await link.call(pin.definition.name, arguments, its)
        except ToolError:
            raise
        except Exception as error:
            if not its.left or its.status == HTTPStatus.NOT_FOUND or _is_closed(error):
                link.leave(f"{pin.tool} got no answer")
            raise fault(error, its, link.secrets) from error
        return value(
            answer,
            its,
            errors_are_doubt=pin.errors_are_doubt(trusted=self._lock.trusted),
            secrets=link.secrets,
        )

    async def _ready(self, its: Leaving) -> Link:
        """A connection to a server that is known to be what it was, as of its last change."""
        link = self._link
        if link is not None and not link.gone and not self._stale:
            return link
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew())
            self._renewing.add_done_callback(_heard)
        try:
            async with asyncio.timeout(its.until - monotonic()):
                return await asyncio.shield(self._renewing)
        except TimeoutError:
            raise Unavailable(
                f"{its.what} was not sent: its server took too long to be reached.",
                reason=StopReason.TOOL_TIMEOUT,
            ) from None

    @property
    def _stale(self) -> bool:
        return self._seen != self._changes or monotonic() - self._hashed_at > FRESH_S

    async def _renew(self) -> Link:
        """Connect if need be, and hash what the server offers now.

        Raises:
            Unavailable: It cannot be reached, or does not say.
        """
        link = self._link
        if link is not None and not link.gone:
            with contextlib.suppress(Unavailable):  # it may have died unseen
                return await self._looked(link)
        link = Link(self._lock, self._change)
        self._links = {link, *(each for each in self._links if not each.ended)}
        await link.open()
        self._link = await self._looked(link)  # not before: nobody may use what is not hashed
        return link

    async def _looked(self, link: Link) -> Link:
        seen = self._changes
        try:
            self._judge(await link.definitions())
        except Exception as error:
            link.leave("it does not say what it offers")
            why = excerpt(str(error), link.secrets)
            raise Unavailable(f"{self._lock.server} does not say what it offers: {why}.") from error
        self._seen, self._hashed_at = seen, monotonic()
        return link

    def _change(self) -> None:
        self._changes += 1

    def _judge(self, offered: Mapping[str, Definition]) -> None:
        """Shut what is not what was pinned; what is new is not ours to use."""
        shut = {each.tool: why for each in self._lock.tools if (why := unlike(each, offered))}
        for tool in sorted(shut.keys() - self._shut.keys()):
            log.warning("mcp.tool_shut", tool=tool, why=shut[tool])
        for tool in sorted(self._shut.keys() - shut.keys()):
            log.info("mcp.tool_as_pinned_again", tool=tool)
        self._shut = shut

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        await asyncio.gather(*(each.close() for each in self._links))


async def offered(lock: Lock) -> dict[str, Definition]:
    """What a server offers now, by name.

    Raises:
        Unavailable: It cannot be reached.
    """
    link = Link(lock, lambda: None)
    try:
        await link.open()
        return await link.definitions()
    except MCPError as error:
        raise Unavailable(f"{lock.server} does not say what it offers: {error}.") from error
    finally:
        await link.close()


def unlike(pin: Pin, offered: Mapping[str, Definition]) -> str:
    """Why a tool may not be used as it is offered now; empty when it is what was pinned."""
    now = offered.get(pin.definition.name)
    if now is not None and now.sha256() == pin.sha256:
        return ""
    became = "its server has it no more" if now is None else "its definition changed"
    server = pin.tool.partition(".")[0]
    return (
        f"{pin.tool} is not used: {became} since it was pinned; look at `sluice mcp check`, and"
        f" if it is to be used as it is now, run `sluice mcp import {server}`"
    )


def _is_closed(error: Exception) -> bool:
    return isinstance(error, MCPError) and error.code == CONNECTION_CLOSED


def _heard(task: "asyncio.Task[Link]") -> None:
    """Nobody may be left who waits for it."""
    if not task.cancelled():
        task.exception()
