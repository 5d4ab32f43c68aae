"""How a request leaves: on which line, until when, and a write only once for each call."""

import asyncio
import os
from dataclasses import dataclass, field
from time import monotonic
from types import SimpleNamespace
from typing import Any

import aiohttp

from models.run import StopReason
from tools.answers import doubt, unreadable
from tools.border import Border, Passport
from tools.tool import Call, Rejected, ToolError, Unavailable

KEEP_ALIVE_S = 4.0
"""Shorter than servers keep an idle connection, so that a write seldom meets one just closed."""


@dataclass(slots=True)
class Line:
    """What the requests of one event loop share."""

    session: aiohttp.ClientSession
    written: dict[Call, None] = field(default_factory=dict)

    def first_write(self, call: Call) -> bool:
        """Whether the call has written nothing yet; from now on it has.

        A call past its deadline can send nothing, so it may be forgotten.
        """
        while self.written and (oldest := next(iter(self.written))).deadline < monotonic():
            del self.written[oldest]
        first = call not in self.written
        self.written[call] = None
        return first

    def wrote(self, call: Call) -> bool:
        """Whether a write of this call has left, or was about to."""
        return call in self.written


_lines: dict[tuple[int, asyncio.AbstractEventLoop], Line] = {}
"""By process too: a fork must not speak on its parent's sockets."""


def line() -> Line:
    """The running loop's line, opened when it is first asked for."""
    key = os.getpid(), asyncio.get_running_loop()
    if key not in _lines:
        hooks = aiohttp.TraceConfig()
        hooks.on_request_headers_sent.append(_head_leaves)
        hooks.on_request_chunk_sent.append(_body_leaves)
        _lines[key] = Line(
            aiohttp.ClientSession(
                connector=Border(keepalive_timeout=KEEP_ALIVE_S),
                cookie_jar=aiohttp.DummyCookieJar(),  # tenants share this session
                trace_configs=[hooks],
                auto_decompress=False,  # a small answer must not grow past its limit
            )
        )
    return _lines[key]


async def close() -> None:
    """Close the running loop's connections; a later request opens new ones."""
    closing = _lines.pop((os.getpid(), asyncio.get_running_loop()), None)
    if closing is not None:
        await closing.session.close()


def until(call: Call) -> float:
    """When an exchange of this call that begins now must be over, on the monotonic clock."""
    most_s = call.egress.max_seconds
    return call.deadline if most_s is None else min(call.deadline, monotonic() + most_s)


@dataclass(slots=True)
class Sending:
    """One request on its way, and whether it has left us."""

    call: Call
    line: Line
    what: str
    """Method and URL, for people."""
    writes: bool
    has_body: bool
    passport: Passport
    until: float
    """On the monotonic clock; see `until`."""
    left: bool = False
    refusal: ToolError | RuntimeError | None = None
    """Why it did not leave. aiohttp hides what is raised while a body is written."""

    def leave(self) -> None:
        """The last moment before the first byte: a connection is in hand, the clock is read again.

        Raises:
            Unavailable: It is too late.
            RuntimeError: The call has written before. Each try needs a call of its own.
        """
        self.refuse_when_late()
        if self.writes and not self.line.first_write(self.call):
            self.refusal = RuntimeError(f"{self.what}: the call {self.call.key} wrote already")
            raise self.refusal
        self.left = True

    def refuse_when_late(self) -> None:
        until = min(self.until, self.call.send_before if self.writes else float("inf"))
        if monotonic() >= until:
            self.refusal = Unavailable(
                f"{self.what} was not sent: the time in which it may leave had passed.",
                reason=StopReason.TOOL_TIMEOUT,
            )
            raise self.refusal

    def clocks(self) -> aiohttp.ClientTimeout:
        """What is left to connect and to end, not rounded up to whole seconds."""
        now = monotonic()
        to_leave = self.call.send_before - now if self.writes else float("inf")
        to_end = self.until - now
        return aiohttp.ClientTimeout(
            total=to_end, connect=min(to_leave, to_end), ceil_threshold=float("inf")
        )

    def unanswered(self, error: Exception, said: str) -> Exception:
        """What a request came to that got no whole answer, from what aiohttp raised about it."""
        if self.refusal is not None:
            return self.refusal
        if not self.left and self.passport.refusal is not None:
            told = f"{self.what} was not sent: {self.passport.refusal}."
            return Rejected(told, reason=StopReason.TOOL_DENIED)
        late = isinstance(error, TimeoutError)
        reason = StopReason.TOOL_TIMEOUT if late else StopReason.TOOL_FAILED
        if late:
            said = "it took too long"
            said += ", by egress.max_seconds" if self.until < self.call.deadline else ""
        if not self.left:
            return Unavailable(f"{self.what} was not sent: {said}.", reason=reason)
        return self.doubt(f"{self.what} got no whole answer: {said}.", reason)

    def doubt(self, message: str, reason: StopReason) -> ToolError:
        """It left us; whether it had an effect is only a question when it writes."""
        return doubt(message, reason, writes=self.writes)

    def unreadable(self, why: str) -> ToolError:
        """A yes that cannot be used. A look-up finds what a write left; a read fails again."""
        return unreadable(self.what, why, writes=self.writes)


async def body_within(response: aiohttp.ClientResponse, leaving: Sending) -> bytes:
    """The whole body, where it is no larger than the policy lets it be.

    Raises:
        ToolError: It is larger; no more of it was read than would have been kept.
    """
    most, raw = leaving.call.egress.max_bytes, bytearray()
    if (response.content_length or 0) <= most:
        async for chunk in response.content.iter_chunked(64 * 1024):
            raw += chunk
            if len(raw) > most:
                break
        else:
            return bytes(raw)
    raise leaving.unreadable(f"its answer is larger than {most} bytes (egress.max_bytes)")


# aiohttp calls these two just before it writes. Its connector has hooks as soon as a connection
# is in hand, but leaks that connection when they raise.


async def _head_leaves(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
    leaving: Sending = context.trace_request_ctx
    if not leaving.has_body:  # else the head is held back, and leaves together with the body
        leaving.leave()


async def _body_leaves(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
    leaving: Sending = context.trace_request_ctx
    leaving.leave()


async def never_again(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Turn off aiohttp's own resend: of a PUT or DELETE when a kept connection turns out dead.

    It resends on these two errors only; their parent class reaches the caller.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(str(error)) from error
