"""A tool says at import what would go wrong later."""

from datetime import datetime
from uuid import UUID, uuid4

import pytest
from pydantic import Field

from tools.tool import Call, Contract, Effect, tool


class Marks(Contract):
    marks: set[str]


class Nested(Contract):
    inner: tuple[Marks, ...] = ()


class Minted(Contract):
    id: UUID = Field(default_factory=uuid4)


class Dated(Contract):
    at: datetime = Field(default_factory=datetime.now)


class Steady(Contract):
    marks: list[str] = Field(default_factory=list)
    few: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("takes", "told"),
    [
        (Marks, "a set has no order"),
        (Nested, "a set has no order"),
        (Minted, "the default of id is another one each time"),
        (Dated, "the default of at is another one each time"),
        (Steady, None),
    ],
)
def test_arguments_that_would_not_be_the_same_in_a_resumed_run_are_refused_at_import(takes, told):
    async def run(args, call):
        return args

    run.__annotations__ = {"args": takes, "call": Call, "return": Steady}
    declare = tool("t", effect=Effect.READ, timeout_s=1)
    if told is None:
        declare(run)
        return
    with pytest.raises(TypeError, match=told):
        declare(run)
