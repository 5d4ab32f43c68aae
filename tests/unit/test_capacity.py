"""Capacity: how much a typed field lets anybody say."""

import math
from decimal import Decimal
from enum import Enum, Flag
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field, PlainValidator, create_model, field_validator

from worker.labels.capacity import INFINITE, capacity, spread


class Colour(Enum):
    RED = 1
    BLUE = 2
    GREEN = 3


class Right(Flag):
    READ = 1
    WRITE = 2


class Inner(BaseModel):
    yes: bool
    colour: Colour


class Everything(BaseModel):
    yes: bool
    one: Literal["a"]
    four: Literal["a", "b", "c", "d"]
    colour: Colour
    perhaps: bool | None
    month: int = Field(ge=1, le=12)
    open_month: Annotated[int, Field(gt=0, lt=13)]
    number: int
    half_bound: int = Field(ge=0)
    text: str
    short: str = Field(max_length=2)
    money: Decimal
    share: float = Field(ge=0, le=1)
    inner: Inner
    flags: list[bool] = Field(max_length=3)
    texts: list[str] = Field(max_length=1)
    endless: list[bool]
    either: Inner | Literal["none"]
    pair: tuple[Literal["a"], str]
    pairs: tuple[bool, ...]
    rights: Right
    checked: bool
    sorted: Annotated[list[bool], AfterValidator(sorted)]
    first: str = Field(serialization_alias="second")
    second: bool

    @field_validator("checked")
    @classmethod
    def _says_what_it_likes(cls, value):
        return str(value)

    plain: Annotated[Literal["a", "b"], PlainValidator(str)]
    after: Annotated[bool, AfterValidator(str)]
    nothing: list[str] = Field(max_length=0)
    long: list[Literal["a"]] = Field(max_length=10**12)
    inners: list[Inner] = Field(max_length=3)
    perhaps_inners: list[Inner] | None
    named: dict[str, Inner]


@pytest.mark.parametrize(
    ("pointer", "bits"),
    [
        ("/yes", 1), ("/one", 0), ("/four", 2), ("/colour", math.log2(3)),
        ("/perhaps", math.log2(3)), ("/month", math.log2(12)), ("/open_month", math.log2(12)),
        ("/number", INFINITE), ("/half_bound", INFINITE), ("/text", INFINITE),
        ("/short", INFINITE), ("/money", INFINITE), ("/share", INFINITE),
        ("/inner", math.log2(6)), ("/inner/yes", 1), ("/inner/colour", math.log2(3)),
        ("/flags", math.log2(15)), ("/flags/1", 1), ("/texts", INFINITE), ("/endless", INFINITE),
        ("/pair/0", 0), ("/pair/1", INFINITE), ("/pair/2", INFINITE), ("/pairs/9", 1),
        ("/rights", INFINITE), ("/checked", INFINITE), ("/sorted/0", INFINITE),
        ("/second", INFINITE), ("/plain", INFINITE), ("/after", INFINITE), ("/nothing", 0),
        ("/long", math.log2(10**12 + 1)), ("/named/x/yes", INFINITE),
        ("/endless/7", 1), ("/either", math.log2(7)), ("/no/such", INFINITE), ("", INFINITE),
    ],
)  # fmt: skip
def test_a_field_carries_as_many_bits_as_it_has_values(pointer, bits):
    assert capacity(Everything, pointer) == pytest.approx(bits)


@pytest.mark.parametrize(
    ("pointer", "above"),
    [
        ("/yes", []), ("/inner/yes", []), ("/flags", []), ("/pair/0", []),
        ("/flags/1", [("/flags", 2)]), ("/endless/7", [("/endless", INFINITE)]),
        ("/inners/2/yes", [("/inners", 2)]), ("/named/x/yes", [("/named", INFINITE)]),
        ("/perhaps_inners/0/yes", [("/perhaps_inners", INFINITE)]),
        ("/pairs/0", [("/pairs", INFINITE)]), ("/either/yes", [("/either", INFINITE)]),
    ],
)  # fmt: skip
def test_how_long_a_list_is_and_what_its_map_calls_it_are_said_above_a_place(pointer, above):
    assert spread(Everything, pointer) == tuple((at, pytest.approx(bits)) for at, bits in above)
    maps = tuple(each for each in above if each[0] == "/named")
    assert spread(Everything, pointer, lists=False) == maps


@given(st.integers(-1000, 1000), st.integers(0, 1000))
def test_a_bounded_number_carries_the_logarithm_of_its_range(low, many):
    model = create_model("Bound", n=(int, Field(ge=low, le=low + many)))
    assert capacity(model, "/n") == pytest.approx(math.log2(many + 1))


def test_a_model_that_takes_unknown_fields_carries_anything():
    class Loose(BaseModel, extra="allow"):
        yes: bool

    assert capacity(Loose, "") == INFINITE


def test_a_model_that_holds_itself_has_no_end():
    class Tree(BaseModel):
        left: "Tree | None"

    assert capacity(Tree, "") == INFINITE
