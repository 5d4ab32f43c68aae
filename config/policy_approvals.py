"""The policy's part on approvals: which calls a person must have allowed, one by one."""

import re
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_ABOVE = re.compile(r"above\(\s*(?P<pointer>/[^,\s]+)\s*,\s*(?P<amount>\d+(?:\.\d+)?)\s*\)")
_FIRST = re.compile(r"first\(\s*(?P<calls>[1-9]\d{0,5})\s*\)")


class When(StrEnum):
    ALWAYS = "always"
    NEVER = "never"
    ABOVE = "above"  # the number at a JSON pointer of the arguments is more than an amount
    FIRST = "first"  # until so many calls of the tool were approved for the tenant


class Approval(NamedTuple):
    """`always`, `never`, `above(/amount_usd, 100)` or `first(3)`."""

    when: When
    pointer: str = ""
    amount: Decimal = Decimal(0)
    calls: int = 0

    def __str__(self) -> str:
        if self.when is When.ABOVE:
            return f"above({self.pointer}, {self.amount})"
        return f"first({self.calls})" if self.when is When.FIRST else str(self.when)

    @classmethod
    def of(cls, text: Any) -> "Approval":
        """Read a rule as the policy writes it.

        Raises:
            ValueError: It is none.
        """
        if isinstance(text, cls):
            return text
        word = text.strip() if isinstance(text, str) else ""
        if word in {When.ALWAYS, When.NEVER}:
            return cls(When(word))
        if found := _ABOVE.fullmatch(word):
            return cls(When.ABOVE, pointer=found["pointer"], amount=Decimal(found["amount"]))
        if found := _FIRST.fullmatch(word):
            return cls(When.FIRST, calls=int(found["calls"]))
        raise ValueError("an approval is always, never, above(/pointer, amount) or first(n)")

    def asked_of(self, document: Any, approved: int) -> bool:
        """Whether a person must allow a call with these arguments, after so many were allowed.

        What has no number at the pointer is asked about: nobody can tell that it is below.
        """
        if self.when is When.FIRST:
            return approved < self.calls
        if self.when is When.ABOVE:
            found = _number(document, self.pointer)
            return found is None or not found <= self.amount
        return self.when is When.ALWAYS

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.of, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )


def _number(document: Any, pointer: str) -> Decimal | None:
    for part in pointer.split("/")[1:]:
        document = document.get(part) if isinstance(document, dict) else None
    if isinstance(document, bool) or not isinstance(document, int | float | str | Decimal):
        return None
    try:
        found = Decimal(str(document))
    except ArithmeticError:
        return None
    return found if found.is_finite() else None


NEVER = Approval(When.NEVER)
USUAL = {"cloud.shutdown": Approval.of("above(/would_save_usd, 100)")}
"""By tool: what holds where no entry of the policy fits it. `never` says otherwise. What a model
proposed is asked about all the same."""
