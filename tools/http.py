"""The one way out over HTTP, and the one mapping from what comes back to a `ToolError`.

Before bytes were sent everything is `Unavailable`, for nothing can have happened; but `Rejected` as
tool_denied where tools/border.py does not let it pass. Afterwards:

    2xx, 409    the reply; a 409 is the tool's to judge
    the rest    see tools/answers.py
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

import aiohttp
import orjson
from multidict import CIMultiDict
from pydantic import SecretStr
from yarl import URL

from tools.answers import excerpt, refused
from tools.border import Passport, crossing, site_of
from tools.line import Sending, body_within, close, line, never_again, until
from tools.tool import Ambiguous, Call, Rejected, Unavailable
from tools.veil import Veil

__all__ = ["Reply", "Wire", "close"]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that a tool may use: a 2xx, or a 409."""

    status: int
    headers: Mapping[str, str]
    body: Any
    """Parsed JSON; None when the body was empty, or was a 409's that is no JSON."""


class Wire:
    """The connection to one target: where it is, and who we are there.

    An operator names the base URL, so that host and port may be reached, and may be private. One
    that came with a call's arguments is for `tools.egress`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        login: tuple[str, SecretStr] | None = None,
        headers: Mapping[str, str] | None = None,
        private: bool = True,
    ) -> None:
        """`login`: who, and the password; without a name, that is a bearer's token.

        `private`: whether the target may be on this host or in a private network.
        """
        self.base = URL(base_url)
        if self.base.scheme not in {"http", "https"} or self.base.user or self.base.password:
            raise ValueError("a target needs an http(s) URL, and its login apart from the URL")
        self._site = site_of(self.base)
        self._private = private
        self._headers = {
            **(headers or {}),
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
        }
        self._veil = Veil()
        if login is not None:
            user, password = login[0], login[1].get_secret_value()
            said = aiohttp.encode_basic_auth(user, password) if user else f"Bearer {password}"
            self._headers["Authorization"] = said
            self._veil = Veil(said.split()[-1], password) if password else self._veil

    def adding(self, headers: Mapping[str, str]) -> Self:
        """The same target and login, with more headers."""
        other = copy(self)
        other._headers = {**headers, **self._headers}  # noqa: SLF001  # it is one of ours
        return other

    async def send(
        self,
        method: str,
        path: str,
        *,
        call: Call,
        writes: bool,
        query: Mapping[str, str] | None = None,
        json: Any = None,
    ) -> Reply:
        """Send one request and take its answer, within what the call's clocks leave.

        A write is one HTTP request: not resent, not redirected, not repeated for the same call.

        Raises:
            ToolError: As the table on top of this file says.
            RuntimeError: A second write for one call; each try needs a call of its own.
        """
        url, way = self.base.joinpath(path), line()
        leaving = Sending(
            call,
            way,
            f"{method} {url}",
            writes,
            json is not None,
            self._passport(call),
            until(call),
        )
        wrote_before = way.wrote(call)
        try:
            return await self._exchange(leaving, method, url, query=query, json=json)
        except (Unavailable, Rejected) as error:
            if not wrote_before:
                raise
            # Whatever became of this one, the call may have had its effect: not to be repeated.
            told = f"{error} An earlier request of the same call had left."
            raise Ambiguous(told, reason=error.reason) from error

    async def _exchange(
        self,
        leaving: Sending,
        method: str,
        url: URL,
        *,
        query: Mapping[str, str] | None,
        json: Any,
    ) -> Reply:
        leaving.refuse_when_late()
        key = {"Idempotency-Key": leaving.call.key} if leaving.writes else {}
        try:
            with crossing(leaving.passport):
                async with leaving.line.session.request(
                    method,
                    url,
                    params=query,
                    data=None if json is None else orjson.dumps(json),
                    headers=self._headers | key,
                    allow_redirects=False,  # our login would go along, to where nobody judged
                    timeout=leaving.clocks(),
                    middlewares=(never_again,) if leaving.writes else (),
                    trace_request_ctx=leaving,
                ) as response:
                    return await self._judge(response, leaving)
        except (aiohttp.ClientError, OSError) as error:
            told = leaving.unanswered(error, self.excerpt(str(error)) or type(error).__name__)
            raise told from None  # a traceback would tell what the target said, our login too

    async def _judge(self, response: aiohttp.ClientResponse, leaving: Sending) -> Reply:
        conflict = response.status == HTTPStatus.CONFLICT
        if response.status >= HTTPStatus.MULTIPLE_CHOICES and not conflict:
            said = self.excerpt(f"{response.reason}: {await _glimpse(response)}")
            told = f"{leaving.what} answered {response.status} {said}."
            raise refused(response.status, response.headers, told, writes=leaving.writes)
        raw = await body_within(response, leaving)
        try:
            body = self._veil.without(orjson.loads(raw), raw) if raw else None
        except ValueError:
            if not conflict:
                raise leaving.unreadable("its answer is no JSON") from None
            body = None
        headers = CIMultiDict((name, self._veil.over(v)) for name, v in response.headers.items())
        return Reply(response.status, headers, body)

    def excerpt(self, text: str) -> str:
        """One short line that a person may read: no control characters, none of our secrets."""
        return excerpt(self._veil.over(text))

    def _passport(self, call: Call) -> Passport:
        inside = self._private or call.egress.leads_inside(*self._site)
        rule = "neither its connection nor egress.private"
        return Passport(self._site[0], inside, call.egress.networks, rule)


async def _glimpse(response: aiohttp.ClientResponse) -> str:
    """The beginning of an error's body. Its status counts whether or not that can be read."""
    try:
        return (await response.content.read(4096)).decode(errors="replace")
    except (aiohttp.ClientError, OSError):
        return ""
