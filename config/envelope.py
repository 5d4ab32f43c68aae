"""The envelope: what may come off a Redis list, whoever pushed it there.

kombu pops first and reads then: what it cannot read is gone, and its consumer with it, be it a
submission's reader or a whole worker that hears bells. Here it arrives as a message that cannot
be decoded, which both of them answer without a fuss.
"""

import base64
import json
from typing import Any
from uuid import uuid4

import kombu
import redis
from kombu.transport.redis import Channel, Transport

UNREADABLE = "application/octet-stream"
"""The content type of what came without an envelope of kombu's."""


class Connection(kombu.Connection):  # type: ignore[misc]  # kombu is untyped
    """kombu's connection; on Redis it survives what anybody may have pushed."""

    def get_transport_cls(self) -> Any:
        found = super().get_transport_cls()
        return _Transport if found is Transport else found


class _Client(redis.Redis):
    def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        reply = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]  # redis is half typed
        if command_name == "BRPOP" and reply and not _deliverable(reply[1]):
            return reply[0], _wrapped(reply[1], queue=reply[0].decode())
        return reply


class _Channel(Channel):  # type: ignore[misc]  # kombu is untyped
    def _get_client(self) -> Any:
        super()._get_client()  # it checks the client's version
        return _Client


class _Transport(Transport):  # type: ignore[misc]  # kombu is untyped
    Channel = _Channel


def _deliverable(item: bytes) -> bool:
    """Whether kombu can make a message of it, and give that back to the list when it has to."""
    try:
        envelope = json.loads(item)
        properties = envelope["properties"]
        info = properties["delivery_info"]
        texts = (properties["delivery_tag"], info["exchange"], info["routing_key"])
        if properties.get("body_encoding") == "base64":
            base64.b64decode(envelope.get("body") or "")
        elif properties.get("body_encoding"):
            return False
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return False
    return all(isinstance(each, str) for each in texts) and isinstance(
        envelope.get("headers") or {}, dict
    )


def _wrapped(item: bytes, *, queue: str) -> bytes:
    envelope = {
        "body": base64.b64encode(item).decode(),
        "content-type": UNREADABLE,
        "content-encoding": "binary",
        "headers": {},
        "properties": {
            "body_encoding": "base64",
            "delivery_tag": str(uuid4()),
            "delivery_info": {"exchange": "", "routing_key": queue},
        },
    }
    return json.dumps(envelope).encode()
