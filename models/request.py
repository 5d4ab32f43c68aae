"""A request: what a client asks for, and why it may be refused."""

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from models.request_key import KEY_BYTES, PROPOSAL_KEY
from models.tenant import TENANT_NAME

PIPELINE_BYTES = 100
SUBJECT_BYTES = 255
FIRST, LAST = 0, 9
"""The range of priorities."""


class Refused(Exception):
    """Why a request was not accepted; nothing of it was stored, and its key may be used again."""

    code = "refused"

    def __init__(self, detail: str, *, pointer: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer
        """Where in the request, as a JSON pointer."""


class Malformed(Refused):
    code = "malformed"


class UnknownPipeline(Refused):
    code = "unknown_pipeline"


class InvalidInput(Refused):
    code = "invalid_input"


class KeyReused(Refused):
    """The key belongs to another request; the other payload is never shown, only what differs."""

    code = "key_reused"


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for; its fields may hold anything until `check` has passed."""

    tenant: Any
    key: Any
    pipeline: Any
    input: Any
    subject: Any = None
    priority: Any = 5
    dry_run: Any = False
    """Nothing is written: what would be is proposed."""

    def check(self) -> None:
        """Refuse what no pipeline could take.

        Raises:
            Malformed: Names the field, and what it may hold.
        """
        if not isinstance(self.tenant, str) or not TENANT_NAME.fullmatch(self.tenant):
            raise Malformed("a request names its tenant", pointer="/tenant")
        if self.key is None or self.key == "":
            raise Malformed("a request needs an idempotency key", pointer="/idempotency_key")
        _check_text("idempotency_key", self.key, KEY_BYTES)
        if self.key.startswith(PROPOSAL_KEY):
            told = f"keys with {PROPOSAL_KEY} in front are those of approved proposals"
            raise Malformed(told, pointer="/idempotency_key")
        _check_text("pipeline", self.pipeline, PIPELINE_BYTES)
        if self.subject is not None:
            _check_text("subject", self.subject, SUBJECT_BYTES)
        priority = self.priority
        if type(priority) is not int or not FIRST <= priority <= LAST:
            raise Malformed(f"priority is {FIRST} (first) to {LAST} (last)", pointer="/priority")
        if type(self.dry_run) is not bool:
            raise Malformed("dry_run is true or false", pointer="/dry_run")


def read_json(text: bytes) -> Any:
    """The value of a JSON text in UTF-8, read alike on both ways in.

    The standard library's reader, for a faster one turns 2**64 into a float without a word.

    Raises:
        Malformed: It is none, or nested without end.
    """
    try:
        return _JSON.decode(text.decode())
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is no JSON in UTF-8: {str(error)[:200]}") from None


def _no_such_number(name: str) -> NoReturn:
    raise ValueError(f"JSON has no {name}")


_JSON = json.JSONDecoder(parse_constant=_no_such_number)


def _check_text(name: str, value: Any, limit: int) -> None:
    if not isinstance(value, str) or not value.strip() or "\x00" in value:
        raise Malformed(f"{name} must be a text that is not blank", pointer=f"/{name}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise Malformed(f"{name} holds half a surrogate pair", pointer=f"/{name}") from None
    if size > limit:
        raise Malformed(f"{name} has {size} bytes; at most {limit} are kept", pointer=f"/{name}")
