"""The HTTP below the client: it says when a call's bytes leave, and what answered them.

The client library would send a call again where it is redirected to, take an answer of any size,
and end the whole connection when one request fails. Here each request fails for itself.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2
import orjson
from mcp_types import CONNECTION_CLOSED

from tools.mcp.leaving import Leaving, leaving
from tools.tool import ToolError

BODY_LIMIT_BYTES = 4 * 1024 * 1024
_CONNECT_S, _SILENT_S = 10.0, 600.0
_NOT_SENT, _LOST = 503, 502
"""Statuses of our own making: there was no answer."""
_SENDS = "http11.send_request_headers.started"


def client(headers: Mapping[str, str]) -> httpx2.AsyncClient:
    """What all requests of one connection share."""
    return httpx2.AsyncClient(
        transport=_Watched(),
        headers={**headers, "Accept-Encoding": "identity"},
        timeout=httpx2.Timeout(_CONNECT_S, read=_SILENT_S),
        trust_env=False,
    )


class _Watched(httpx2.AsyncBaseTransport):
    """Sends, and notes for the call what becomes of it."""

    def __init__(self) -> None:
        self._inner = httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        its = leaving.get() if _calls(request) else None
        if its is not None:
            _watch(request, its)
        try:
            response = await self._inner.handle_async_request(request)
        except ToolError as error:
            return _no_answer(_NOT_SENT, str(error))
        except httpx2.TransportError as error:
            if its is not None:
                its.broke = str(error) or type(error).__name__
            return _no_answer(_LOST, str(error) or type(error).__name__)
        response.headers.pop("content-encoding", None)  # a small answer must not grow
        if its is not None and response.status_code >= httpx2.codes.MULTIPLE_CHOICES:
            its.status, its.headers = response.status_code, response.headers
        response.stream = _Body(response.stream, its)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Body(httpx2.AsyncByteStream):
    """An answer that ends when it grows too large or its connection breaks: the call knows why."""

    def __init__(self, inner: Any, its: Leaving | None) -> None:
        self._inner = inner
        self._its = its

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for chunk in self._inner:
                size += len(chunk)
                if size > BODY_LIMIT_BYTES and self._its is not None:
                    self._its.too_large = True
                    return
                yield chunk
        except httpx2.TransportError as error:
            if self._its is not None:
                self._its.broke = str(error) or type(error).__name__

    async def aclose(self) -> None:
        await self._inner.aclose()


def _no_answer(status: int, why: str) -> httpx2.Response:
    """An error of the protocol, for the client to pass on in place of an answer."""
    error = {"code": CONNECTION_CLOSED, "message": why}
    return httpx2.Response(status, json={"jsonrpc": "2.0", "id": None, "error": error})


def _calls(request: httpx2.Request) -> bool:
    """Whether it is a tool's call; others leave in the same context, to call one off."""
    if request.method != "POST":
        return False
    try:
        return bool(orjson.loads(request.content)["method"] == "tools/call")
    except httpx2.RequestNotRead:  # the body of one that is sent on to elsewhere
        return True
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return False


def _watch(request: httpx2.Request, its: Leaving) -> None:
    async def hear(event: str, _: Mapping[str, Any]) -> None:
        if event == _SENDS:
            its.leave()

    request.extensions = {**request.extensions, "trace": hear}
    if its.writes:
        request.headers["Idempotency-Key"] = its.call.key
