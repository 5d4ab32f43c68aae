"""A link: one open connection to a server, held by a task of its own.

The client library's scopes must be left by the task that entered them, so a link has an owner;
whoever calls only writes and waits. What the server asks of us (sampling, elicitation, roots) is
refused by the library, for we announce none of it.
"""

import asyncio
import contextlib
import contextvars
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import structlog
from mcp import Client, MCPError
from mcp.client.session import IncomingMessage
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import SubscriptionLost
from mcp_types import (
    METHOD_NOT_FOUND,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    InputRequiredResult,
    ToolListChangedNotification,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import TypeAdapter

from tools.answers import excerpt
from tools.mcp import wire
from tools.mcp.leaving import KEY_META, Leaving, leaving
from tools.mcp.listing import offered
from tools.mcp.lock import Lock
from tools.mcp.pin import Definition
from tools.mcp.stdio import child
from tools.tool import Unavailable

log = structlog.get_logger()
logging.getLogger("mcp").setLevel(logging.CRITICAL)  # it logs what servers say; see `outcome`

_OPENS_WITHIN_S = 30.0
_LISTEN_AGAIN_S = 30.0
_SLACK_S = 5.0
_ANSWER: TypeAdapter[CallToolResult | InputRequiredResult] = TypeAdapter(
    CallToolResult | InputRequiredResult
)


class Link:
    """One connection. `changed` is called when the server says that its tools have changed."""

    def __init__(self, lock: Lock, changed: Callable[[], None]) -> None:
        self._lock = lock
        self._changed = changed
        self._calls = 0
        self._over = asyncio.Event()
        self._client: Client | None = None
        self.gone = ""
        """Why it cannot be used any more."""
        self.secrets: tuple[str, ...] = ()
        """What was read from our environment for it: never to be told."""

    async def open(self) -> None:
        """Connect.

        Raises:
            Unavailable: It could not be reached; the sentence says why.
        """
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A context of its own: what the first caller is about must not be told of all others.
        self._owner = asyncio.create_task(self._own(opened), context=contextvars.Context())
        try:
            await opened
        except BaseException:
            self._owner.cancel()
            raise

    async def _own(self, opened: "asyncio.Future[None]") -> None:
        why = "it was closed"
        try:
            async with contextlib.AsyncExitStack() as stack:
                async with asyncio.timeout(_OPENS_WITHIN_S):
                    client = await stack.enter_async_context(self._connection())
                self._client = client
                if not opened.done():
                    opened.set_result(None)
                listening = asyncio.create_task(self._listen(client))
                try:
                    await self._over.wait()
                finally:
                    listening.cancel()
                    await asyncio.gather(listening, return_exceptions=True)
        except Exception as error:  # noqa: BLE001  # whatever the library raises, the link is gone
            why = _said(error, self._lock)
        finally:
            self.gone = self.gone or excerpt(why, self.secrets)
            if not opened.done():
                told = f"{self._lock.server} was not reached: {self.gone}."
                opened.set_exception(Unavailable(told))
                opened.exception()  # whoever waited for it may have left

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Client]:
        lock = self._lock
        env = self._filled(lock.env)
        headers = self._filled(lock.headers)
        async with contextlib.AsyncExitStack() as stack:
            if lock.url is not None:
                http = await stack.enter_async_context(wire.client(headers))
                transport: Any = streamable_http_client(lock.url, http_client=http)
            else:
                transport = child(lock.command, env, server=lock.server, gone=self.leave)
            yield await stack.enter_async_context(
                Client(
                    transport,
                    cache=None,
                    message_handler=self._hear,
                    read_timeout_seconds=_OPENS_WITHIN_S,
                    client_info=Implementation(name="sluice", version="1"),
                )
            )

    def _filled(self, named: Mapping[str, str]) -> dict[str, str]:
        """Names with what our environment has for them."""
        if lacking := sorted(set(named.values()) - os.environ.keys()):
            raise LookupError(f"the environment variable {lacking[0]} is not set here")
        found = {name: os.environ[variable] for name, variable in named.items()}
        words = (
            word for each in found.values() for word in {each, each.split()[-1] if each else ""}
        )
        self.secrets += tuple(each for each in words if len(each) > 3)  # noqa: PLR2004  # no secret
        return found

    async def _hear(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._changed()

    async def _listen(self, client: Client) -> None:
        """Hear of changes where the protocol has us ask for that; older servers tell unasked."""
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return
        while True:
            try:
                async with client.listen(tools_list_changed=True) as heard:
                    self._changed()  # perhaps before we listened
                    async for _ in heard:
                        self._changed()
            except MCPError as error:
                if error.code == METHOD_NOT_FOUND:
                    return
            except (SubscriptionLost, TimeoutError):
                pass
            self._changed()  # whatever was said meanwhile, nobody heard
            await asyncio.sleep(_LISTEN_AGAIN_S)

    async def definitions(self) -> dict[str, Definition]:
        """What the server offers, by name."""
        return await offered(self._open_client.session, self._lock.server)

    async def call(
        self, name: str, arguments: dict[str, Any], its: Leaving
    ) -> CallToolResult | InputRequiredResult:
        """Send one request for one call. The library's own `call_tool` would send again on some
        answers, and hold results against the schema that the server has told last."""
        params = CallToolRequestParams(
            name=name, arguments=arguments, _meta={KEY_META: its.call.key}
        )
        before = leaving.set(its)
        self._calls += 1
        try:
            session = self._open_client.session
            return await session.send_request(
                CallToolRequest(params=params),
                _ANSWER,
                # The gateway ends a call at its deadline; the library must not do so before.
                request_read_timeout_seconds=max(its.call.deadline - monotonic(), 0) + _SLACK_S,
            )
        finally:
            leaving.reset(before)
            self._calls -= 1
            self._end_when_idle()

    def leave(self, why: str) -> None:
        """Take no more calls; those under way come to their end first."""
        if not self.gone:
            self.gone = excerpt(why, self.secrets)
            log.info("mcp.left", server=self._lock.server, why=self.gone)
        self._end_when_idle()

    def _end_when_idle(self) -> None:
        if self.gone and not self._calls:
            self._over.set()

    async def close(self) -> None:
        """End it, whoever is calling."""
        self.gone = self.gone or "it was closed"
        self._over.set()
        await asyncio.gather(self._owner, return_exceptions=True)

    @property
    def ended(self) -> bool:
        """Its owner is done: nothing of it is left."""
        return self._owner.done()

    @property
    def _open_client(self) -> Client:
        if self._client is None:
            raise RuntimeError("a link is opened before it is used")
        return self._client


def _said(error: BaseException, lock: Lock) -> str:
    """What went wrong first, in a line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, FileNotFoundError) and lock.command:
        return f"there is no program {lock.command[0]}"
    if isinstance(error, TimeoutError):
        return f"it did not answer within {_OPENS_WITHIN_S:g} s"
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
