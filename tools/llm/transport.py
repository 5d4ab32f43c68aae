"""The transport below a provider's client: no header of others, no endless answer."""

from collections.abc import AsyncIterator

import httpx2

MOST_BYTES = 8 * 1024 * 1024
_HEADERS = {
    "accept", "accept-encoding", "authorization", "connection", "content-length", "content-type",
    "host", "user-agent", "x-api-key", "anthropic-version", "anthropic-beta",
}  # fmt: skip
"""The library adds others: about this host, and whatever the environment says."""


class Bounded(httpx2.AsyncHTTPTransport):
    """Sends few headers, and breaks off a body beyond `MOST_BYTES`, as if the connection broke."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        for name in {*request.headers} - _HEADERS:
            del request.headers[name]
        response = await super().handle_async_request(request)
        response.stream = _Bounded(response)
        return response


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, response: httpx2.Response) -> None:
        self._stream = response.stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MOST_BYTES
        assert isinstance(self._stream, httpx2.AsyncByteStream)  # noqa: S101  # for the type checker
        async for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                raise httpx2.ReadError(f"its answer has more than {MOST_BYTES:,} bytes")
            yield chunk

    async def aclose(self) -> None:
        assert isinstance(self._stream, httpx2.AsyncByteStream)  # noqa: S101  # likewise
        await self._stream.aclose()
