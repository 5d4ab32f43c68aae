"""Trust by JSON pointer: what a declared pointer means."""

from itertools import permutations

import pytest

from tools.trust import closest, covers, escaped


@pytest.mark.parametrize(
    ("patterns", "pointer", "found"),
    [
        (("/*", "/a"), "/a", "/a"),
        (("/*", "/a"), "/b", "/*"),
        (("/a", "/a/*"), "/a/b", "/a/*"),
        (("/rows/*/to", "/rows/*"), "/rows/7/to", "/rows/*/to"),
        (("/long-name/*", "/*/x"), "/long-name/x", "/long-name/*"),
        (("/a",), "/b", None),
        (("/a/b",), "/a~1b", None),
        (("/a~1b",), "/a~1b", "/a~1b"),
        (("/a",), "/*", None),
    ],
)
def test_the_closest_pointer_is_meant_in_whatever_order_they_stand(patterns, pointer, found):
    assert {closest(each, pointer) for each in permutations(patterns)} == {found}


def test_a_name_with_a_slash_is_one_part():
    assert not covers("/rows/*/id", f"/rows/{escaped('x/id')}")
