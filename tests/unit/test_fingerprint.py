"""What tells a reused key from a repeated request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.request_key import canonical, fingerprint

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=20),
    lambda each: (
        st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=8), each, max_size=4)
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=6))
def test_the_order_of_names_does_not_matter(value):
    turned = dict(reversed(list(value.items())))

    assert canonical(value) == canonical(turned)


@pytest.mark.parametrize(("one", "other"), [
    ({"n": 1}, {"n": 1.0}),
    ({"s": "é"}, {"s": "e\u0301"}),
    ({"e\u0301": 1}, {"é": 1}),
    ([1e3], [1000]),
])  # fmt: skip
def test_two_ways_of_writing_one_value_are_one_request(one, other):
    assert fingerprint("p", None, one) == fingerprint("p", None, other)


@pytest.mark.parametrize(("one", "other"), [
    (("p", None, {"n": 1}), ("p", None, {"n": 2})),
    (("p", None, {}), ("q", None, {})),
    (("p", "a", {}), ("p", None, {})),
    (("p", None, {"n": None}), ("p", None, {})),
    (("p", None, {"n": 1}), ("p", None, {"n": "1"})),
    (("p", None, {"n": 2**53 + 1}), ("p", None, {"n": 2**53})),
])  # fmt: skip
def test_what_differs_is_another_request(one, other):
    assert fingerprint(*one) != fingerprint(*other)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**64, "\ud800", {"\ud800": 1}])
def test_what_json_cannot_say_is_refused(value):
    with pytest.raises(ValueError, match="not a JSON value"):
        canonical({"v": value})


def test_endless_nesting_is_refused_and_breaks_nothing():
    value = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(ValueError, match="not a JSON value"):
        canonical(value)
