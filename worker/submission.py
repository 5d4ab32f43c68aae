"""A submission: a request on its way through the broker, and the proof of whose it is."""

import hmac
import json
import time
from typing import Any, NamedTuple

from config.broker import SUBMIT
from models.request import Malformed, Refused, Request, read_json
from models.tenant import Credential, credential, signature

FIELDS = frozenset(
    {
        "tenant",
        "idempotency_key",
        "pipeline",
        "input",
        "subject",
        "priority",
        "dry_run",
        "signature",
    }
)
_REQUIRED = ("tenant", "idempotency_key", "pipeline", "input")
_REMEMBERED_S = 5.0
_REMEMBERED = 10_000
_OPENED_BYTES = 4 * 1024 * 1024
"""A body beyond it is not even read for its key: that would hold up the process's one loop."""


class TooLarge(Refused):
    code = "too_large"


class Unproven(Refused):
    """The submission does not prove that its tenant sent it."""

    code = "unproven"


class Delivery(NamedTuple):
    """What could be read of one message; `refused` says why it cannot become a request."""

    fields: dict[str, Any]
    refused: Refused | None = None


def read(message: Any, *, limit: int) -> Delivery:
    """Read a Celery message of protocol 2 or 1; never raises, whatever somebody published."""
    try:
        body = _body(message)
        if len(body) > _OPENED_BYTES:
            return Delivery({}, _too_large(body, limit))
        name, args, kwargs = _content(body, message.headers or {})
    except Malformed as refused:
        return Delivery({}, refused)
    if not isinstance(kwargs, dict):
        return Delivery({}, Malformed("a submission carries keyword arguments"))
    if len(body) > limit:
        return Delivery(kwargs, _too_large(body, limit))
    if name != SUBMIT:
        return Delivery(kwargs, Malformed(f"this queue takes {SUBMIT!r}, not {str(name)[:100]!r}"))
    if args:
        return Delivery(kwargs, Malformed("a submission carries keyword arguments only"))
    unknown, missing = kwargs.keys() - FIELDS, [n for n in _REQUIRED if n not in kwargs]
    if unknown:
        return Delivery(kwargs, Malformed(f"unknown fields: {', '.join(sorted(unknown))[:200]}"))
    if missing:
        return Delivery(kwargs, Malformed(f"missing fields: {', '.join(missing)}"))
    return Delivery(kwargs)


def _content(body: bytes, headers: Any) -> tuple[Any, Any, Any]:
    """Task name, arguments and keyword arguments, by either of Celery's protocols."""
    content = read_json(body)
    if isinstance(content, dict):
        return content.get("task"), content.get("args"), content.get("kwargs")
    if not isinstance(content, list) or len(content) < 2:  # noqa: PLR2004  # [args, kwargs, ...]
        raise Malformed("not a Celery message: its body is no [args, kwargs, ...]")
    return headers.get("task"), content[0], content[1]


def _body(message: Any) -> bytes:
    """Never `message.decode()`: kombu's JSON makes dates and bytes of dicts that ask for it."""
    if message.errors:
        raise Malformed(f"its body cannot be unpacked: {message.errors[0][1]!r}"[:300])
    if message.content_type != "application/json":
        raise Malformed(
            f"a submission travels as application/json, not {str(message.content_type)[:100]!r}"
        )
    body = message.body or b""
    return body.encode(errors="surrogatepass") if isinstance(body, str) else bytes(body)


def _too_large(body: bytes, limit: int) -> TooLarge:
    return TooLarge(f"the submission has {len(body)} bytes; at most {limit} are taken")


def request_of(fields: dict[str, Any]) -> Request:
    """The request that a readable submission carries."""
    return Request(
        tenant=fields["tenant"],
        key=fields["idempotency_key"],
        pipeline=fields["pipeline"],
        input=fields["input"],
        subject=fields.get("subject"),
        priority=fields.get("priority", 5),
        dry_run=fields.get("dry_run", False),
    )


def signed_text(fields: dict[str, Any]) -> bytes:
    """What is signed: every field but the signature, as sorted, compact, ASCII JSON."""
    rest = {name: value for name, value in fields.items() if name != "signature"}
    return json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()


class Prover:
    """Checks signatures of the form `v1:<key id>:<hex HMAC-SHA256>`."""

    def __init__(self, *, trusted: bool) -> None:
        self._trusted = trusted
        """The broker is our own, behind a socket that only its owner can open."""
        self._known: dict[str, tuple[float, Credential | None]] = {}

    async def prove(self, fields: dict[str, Any]) -> None:
        """Return when the tenant named in the submission has signed it.

        Raises:
            Unproven: No signature, a revoked or unknown key, another tenant's key, or a body
                that is not the one that was signed.
        """
        given = fields.get("signature")
        if given is None and self._trusted:
            return
        version, _, rest = str(given).partition(":")
        key_id, _, code = rest.partition(":")
        if given is None or version != "v1" or not code:
            raise Unproven("a submission needs a signature: v1:<key id>:<HMAC-SHA256 in hex>")
        known = await self._credential(key_id)
        if known is None or known.tenant != fields["tenant"]:
            raise Unproven("the signing key is unknown, revoked or another tenant's")
        try:
            expected = signature(known.signing_key, signed_text(fields))
        except RecursionError:
            raise Malformed("the submission is nested without end") from None
        if not hmac.compare_digest(expected.encode(), code.encode(errors="replace")):
            raise Unproven("the signature does not fit the submission")

    async def _credential(self, key_id: str) -> Credential | None:
        read_at, known = self._known.get(key_id, (float("-inf"), None))
        if time.monotonic() - read_at > _REMEMBERED_S:
            known = await credential(key_id)
            if len(self._known) >= _REMEMBERED:  # made-up ids must not fill the memory
                self._known.clear()
            self._known[key_id] = (time.monotonic(), known)
        return known
