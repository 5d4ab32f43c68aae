"""Pages of strangers: what is read of them, and how long that takes."""

import time

import pytest

from tools.markup import paragraphs
from tools.passages import PASSAGE_CHARS, passages


def test_what_is_seen_on_a_page_is_read_and_nothing_else():
    found = paragraphs(
        "<!doctype html><html><head><title>A &amp; B</title><style>p {color: red}</style>"
        "<script>var x = '<p>no</p>'</script></head><body class='x > y'><h1>One</h1>"
        "<p>Two <b>and</b>\n half, 3 < 4 &lt;5</p><!-- <p>never</p> --><ul><li>three<li>four</ul>"
        "<SCRIPT>no</SCRIPT>tail"
    )

    assert found.title == "A & B"
    # a tag ends at its first >, also within quotes: what is left of it is noise, and harmless
    assert found.paragraphs[1:] == ["One", "Two and half, 3 < 4 <5", "three", "four", "tail"]


@pytest.mark.parametrize(
    ("page", "read"),
    [
        ("", []),
        ("no markup", ["no markup"]),
        ("<p", []),
        ("a<!-- never ends", ["a"]),
        ("a<script>never ends", ["a"]),
        ("<p>&#99999999999999999999999;b", [";b"]),
        ("a \x00\x1b[31m\u202e b", ["a [31m b"]),
        ("İ<script>x</ScRiPt>y", ["İy"]),
        ("<>a</>", ["<>a</>"]),
    ],
)
def test_whatever_a_stranger_writes_is_read_somehow(page, read):
    assert paragraphs(page).paragraphs == read


@pytest.mark.parametrize(
    "unit",
    ["<", "<a ", "<a x='", "<a b=", "<a\n/", "<!--", "</", "<!", "<script>", "</script", "&#9",
     "&", "<p>", "<![CDATA[", "a ", "a"],
)  # fmt: skip
def test_a_page_takes_time_by_its_length_alone(unit):
    begun = time.process_time()

    read = passages(paragraphs(unit * (200_000 // len(unit))).paragraphs)

    assert time.process_time() - begun < 2
    assert all(0 < len(each) <= PASSAGE_CHARS for each in read)


def test_passages_hold_the_whole_text_in_its_order():
    text = [" ".join(f"word{n}-{m}" for m in range(n % 300)) for n in range(60)]

    read = passages(text)

    assert " ".join(read).split() == " ".join(text).split()
    assert max(map(len, read)) <= PASSAGE_CHARS
