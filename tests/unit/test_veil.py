"""A veil hides a secret in what a hostile target says of it."""

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.veil import Veil

SECRET = "h0rse-Battery/staple+42"
TOKEN = base64.b64encode(f"triage:{SECRET}".encode()).decode()


@pytest.fixture
def veil() -> Veil:
    return Veil(TOKEN, SECRET)


@pytest.mark.parametrize(
    "said",
    [
        SECRET,
        SECRET.upper(),
        SECRET[:12],
        SECRET[5:],
        TOKEN,
        TOKEN[: len(TOKEN) // 2],
        TOKEN[7:],
        "\x00".join(SECRET),
        " ".join(SECRET),
        "\r\n".join(TOKEN[n : n + 4] for n in range(0, len(TOKEN), 4)),
        SECRET.encode().hex(),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(b"x" + SECRET.encode() + b"y").decode(),
        base64.b64encode(b"xy" + SECRET.encode()).decode(),
        "h0rse-Battery%2Fstaple%2B42",
    ],
)
def test_no_part_of_it_is_shown_however_it_is_spelt(veil, said):
    shown = veil.over(f"you sent [{said}] to me")

    letters = "".join(c for c in shown.lower() if c.isalnum())
    for form in (SECRET, TOKEN, SECRET.encode().hex()):
        plain = "".join(c for c in form.lower() if c.isalnum())
        assert not any(plain[n : n + 6] in letters for n in range(len(plain) - 5))
    assert shown.startswith("you sent [")
    assert shown.endswith("] to me")


def test_what_is_no_secret_is_shown(veil):
    told = "the field title is longer than 250 characters"

    assert veil.over(told) == told
    assert Veil().over(SECRET) == SECRET


@pytest.mark.parametrize("secret", ["a", "ab", "abc", "pw!", "!!!!", "ünïcode-pass"])
def test_a_short_or_strange_secret_is_hidden_whole(secret):
    assert secret not in Veil(secret).over(f"x {secret} y {secret}")


@given(
    st.text(min_size=8, max_size=40).filter(lambda each: "*" not in each),
    st.text(max_size=20),
    st.text(max_size=20),
)
def test_no_whole_secret_is_in_a_text_or_an_answer(secret, before, after):
    veil = Veil(secret)
    body = {"said": before + secret + after, secret: [secret]}
    raw = orjson.dumps(body)

    assert secret not in veil.over(before + secret + after)
    try:
        cleaned = veil.without(orjson.loads(raw), raw)
    except ValueError:
        return  # an answer that cannot be told without it is not told at all
    assert secret not in cleaned["said"]
    assert secret not in cleaned


def test_an_answer_that_spells_it_in_escapes_is_cleaned_as_well(veil):
    raw = ('{"said": "' + "".join(f"\\u{ord(c):04x}" for c in SECRET) + '", "n": 1}').encode()

    assert veil.without(orjson.loads(raw), raw) == {"said": "***", "n": 1}


def test_a_short_secret_is_left_in_an_answer_for_it_may_be_any_word():
    raw = b'{"id": "1", "pass": "id"}'

    assert Veil("id").without(orjson.loads(raw), raw) == {"id": "1", "pass": "id"}
