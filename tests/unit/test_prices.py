"""Prices: by settings, by the pinned table, or not at all; and a bound on tokens."""

from decimal import Decimal

import pytest
from pydantic import ValidationError

from config.endpoint import Endpoint
from tools.llm import Prompt, Turn
from tools.llm.price import Unpriced, price

HERE = "http://127.0.0.1:11434/v1"


def test_settings_go_first_and_nothing_is_rounded_down():
    at = Endpoint(base_url=HERE, model="m", usd_per_million_in="0.001", usd_per_million_out=3)

    found = price(at)

    assert found.table == "settings"
    assert found.usd(1, 0) == Decimal("0.00000001")
    assert found.usd(0, 1_000_000) == 3


def test_the_pinned_table_knows_a_providers_models_and_names_itself():
    at = Endpoint(base_url="https://api.openai.com/v1", model="gpt-5-nano")

    found = price(at)

    assert found.table.startswith("genai-prices ")
    assert 0 < found.usd(1_000_000, 0) < found.usd(1_000_000, 1_000_000) < 10


@pytest.mark.parametrize(
    ("url", "model"), [(HERE, "gpt-5-nano"), ("https://api.openai.com/v1", "never-heard-of")]
)
def test_a_model_that_nobody_prices_has_no_price(url, model):
    with pytest.raises(Unpriced, match="usd_per_million_in"):
        price(Endpoint(base_url=url, model=model))


def test_zero_is_a_price():
    at = Endpoint(base_url=HERE, model="m", usd_per_million_in=0, usd_per_million_out=0)

    assert price(at).usd(10**9, 10**9) == 0


def test_one_price_alone_is_refused():
    with pytest.raises(ValidationError, match="go together"):
        Endpoint(base_url=HERE, model="m", usd_per_million_in=1)


def test_a_key_is_named_and_never_written_down():
    with pytest.raises(ValidationError):
        Endpoint.model_validate({"base_url": HERE, "model": "m", "secret": "sk-abcdefghijklmno"})


@pytest.mark.parametrize("text", ["", "a" * 100, "\N{FIRE}" * 100, "\0\ud800"])
def test_no_tokenizer_makes_more_tokens_than_there_are_bytes(text):
    bare = Prompt(asks="q", given=1, round=1, instructions="", turns=(), answer={})
    turn = Turn(role="user", text=text)

    put = bare.model_copy(update={"turns": (turn,)})

    assert put.most_tokens() >= bare.most_tokens() + len(text.encode(errors="replace"))


def test_how_a_question_is_put_is_no_part_of_what_a_replay_repeats():
    put = Prompt(asks="q", given=1, round=1, instructions="i", turns=(), answer={"a": 1})

    assert put.model_dump() == {"asks": "q", "given": 1, "round": 1}
