"""The client: this one file, for services that ask for runs; it imports nothing of Sluice.

Over HTTP, where the answer says at once whether a request was accepted:

    async with Client("http://127.0.0.1:8321", api_key) as sluice:
        receipt = await sluice.submit("ticket-triage", {...}, key="ticket:42")
        run = await sluice.get(receipt.run_id, wait_s=20)

Through the broker, from the Celery app that a service has anyway; nobody waits, and what was
refused is told by `Client.request(key)`:

    fields = {"tenant": "acme", "idempotency_key": "ticket:42", "pipeline": ..., "input": ...}
    app.send_task(SUBMIT, kwargs=signed(fields, api_key), queue=submissions_queue(broker_url))

On Redis `queue="sluice.submissions"` does as well: only RabbitMQ wants to hear what kind of
queue it is. `broker_url` names the database that Sluice has; no transport options are needed.
"""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from kombu import Queue
from yarl import URL

SUBMIT = "sluice.submit"
SUBMISSIONS = "sluice.submissions"
_LIFETIME_S = 7 * 24 * 3600.0
_RETURNS = 1_000_000
_AGAIN = frozenset({429, 502, 503, 504})
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_LOST = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError)
_ANSWER_S = 30.0


class Refused(Exception):
    """The request was not accepted, and would not be if it were sent again as it is."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {problem.get('code')}: {problem.get('detail')}")
        self.status = status
        self.code: str | None = problem.get("code")
        self.pointer: str | None = problem.get("pointer")
        self.problem = problem


class Away(Exception):
    """Nobody answered for as long as the client was told to try; the same key may be sent again."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The run that fulfils a request; `replayed` when its key was known before."""

    run_id: str
    replayed: bool


class Client:
    """One tenant's door to the API; use it as `async with`."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8321",
        api_key: str | None = None,
        *,
        socket: str | None = None,
        patience_s: float = 60,
    ) -> None:
        """`socket` is the API's unix socket, which asks for no key."""
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._socket = socket
        self._patience_s = patience_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.UnixConnector(self._socket) if self._socket else None
        self._session = aiohttp.ClientSession(headers=self._headers, connector=connector)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def submit(
        self,
        pipeline: str,
        input_: Any,
        *,
        key: str,
        subject: str | None = None,
        priority: int = 5,
        dry_run: bool = False,
    ) -> Receipt:
        """Ask for a run, again and again with the same key until somebody has accepted it.

        `dry_run`: nothing is written; what would be is proposed, and is in the run's result.

        Raises:
            Refused: It cannot be accepted as it is.
            Away: Whether it was accepted is not known.
        """
        body = {"pipeline": pipeline, "input": input_, "subject": subject, "priority": priority}
        body |= {"dry_run": True} if dry_run else {}
        headers = {"Idempotency-Key": _quoted(key)}
        told = await self._ask("POST", "/v1/runs", body, headers=headers)
        return Receipt(told["run_id"], told["replayed"])

    async def bulk(self, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Ask for up to 1,000 runs, each with its `idempotency_key`; one receipt for each."""
        told = await self._ask("POST", "/v1/runs/bulk", {"requests": list(requests)})
        receipts: list[dict[str, Any]] = told["receipts"]
        return receipts

    async def get(self, run_id: str, *, wait_s: float = 0) -> dict[str, Any]:
        """A run as it stands; with `wait_s`, as soon as it is over or waits for a person."""
        path = f"/v1/runs/{run_id}?wait={wait_s:g}"
        told: dict[str, Any] = await self._ask("GET", path, timeout_s=wait_s + _ANSWER_S)
        return told

    async def request(self, key: str) -> dict[str, Any] | None:
        """What became of a key: accepted or refused; None while nobody has read it."""
        try:
            told: dict[str, Any] = await self._ask("GET", f"/v1/requests/{quote(key, safe='')}")
        except Refused as refused:
            if refused.status == 404:  # noqa: PLR2004  # HTTP's own word for unknown
                return None
            raise
        return told

    async def _ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = _ANSWER_S,
    ) -> Any:
        until, pause_s = time.monotonic() + self._patience_s, _FIRST_PAUSE_S
        while True:
            status, answer, retry_after_s = await self._try(method, path, body, headers, timeout_s)
            if status in range(200, 300):
                return answer
            if status and status not in _AGAIN:
                raise Refused(status, answer if isinstance(answer, Mapping) else {})
            pause_s = max(pause_s, retry_after_s)
            if time.monotonic() + pause_s > until:
                raise Away(f"no answer to {method} {path} for {self._patience_s:g} s: {answer}")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _try(
        self, method: str, path: str, body: Any, headers: Mapping[str, str] | None, timeout_s: float
    ) -> tuple[int, Any, float]:
        """Status 0: nothing came back, and what was sent may have arrived."""
        assert self._session is not None  # noqa: S101  # __aenter__ sets it
        try:
            async with self._session.request(
                method,
                URL(self._url + path, encoded=True),
                json=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(timeout_s),
            ) as response:
                text = await response.text()
                after = response.headers.get("Retry-After", "")
                return response.status, _read(text), float(after) if after.isdigit() else 0.0
        except _LOST as error:
            return 0, repr(error), 0.0


def signed(kwargs: Mapping[str, Any], api_key: str) -> dict[str, Any]:
    """The submission with the proof that its tenant sent it; the key itself does not travel.

    Raises:
        TypeError, ValueError: JSON has no such value, or this is no API key.
    """
    _, key_id, _ = api_key.split("_", 2)
    text = json.dumps({n: v for n, v in kwargs.items() if n != "signature"}, allow_nan=False)
    fields: dict[str, Any] = json.loads(text)  # as the other side will read them
    told = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    signing_key = hashlib.sha256(b"signing:" + api_key.encode()).digest()
    code = hmac.new(signing_key, told, hashlib.sha256).hexdigest()
    return fields | {"signature": f"v1:{key_id}:{code}"}


def submissions_queue(
    broker_url: str, *, name: str = SUBMISSIONS, lifetime_s: float = _LIFETIME_S
) -> Queue:
    """The queue that Sluice reads, declared as Sluice does; RabbitMQ refuses any other wording."""
    if broker_url.startswith("redis"):
        return Queue(name)
    return Queue(
        name,
        queue_arguments={
            "x-queue-type": "quorum",
            "x-message-ttl": int(lifetime_s * 1000),
            "x-delivery-limit": _RETURNS,
        },
    )


def _quoted(key: str) -> str:
    """As an RFC 8941 string, so that no proxy trims it."""
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text[:300]
