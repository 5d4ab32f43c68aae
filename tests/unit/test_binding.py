"""Bindings: where a value comes from, whatever is made of it."""

import math
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from tools.trust import Trust
from worker.labels.binding import among, fixed, made, ref
from worker.labels.provenance import Origin, Provenance


class Given(BaseModel):
    id: str = "7"
    text: str = "free"
    flags: list[bool] = []


@pytest.fixture
def places():
    found = Provenance()
    found.origins["input"] = Origin(Given(flags=[True]), Given, trusted=("/id",))
    found.origins["search"] = Origin(
        b'{"hits": [{"id": "a", "t": "x"}, {"id": "b", "t": "y"}]}', Given, ("/hits/*/id",)
    )
    found.origins["judge"] = Origin(b'{"pick": "b", "other": "z"}', Given, bits={"/pick": 3.0})
    found.origins["say"] = Origin(
        b'{"one": "b", "both": ["a", "c"], "worse": ["a", "z"], "none": [], "later": "c"}', Given
    )
    for step, hit in (("work/1/look", "b"), ("work/2/look", "c"), ("work/2/look/on", "z"),
                      ("idle/1/look", "z")):  # fmt: skip
        written = f'{{"hits": [{{"id": "{hit}"}}, {{"id": "b"}}]}}'.encode()
        found.origins[step] = Origin(written, Given, ("/hits/*/id",))

    found.origins["map"] = Origin(
        b'{"rows": {"x/id": "eve", "x": {"id": "ann"}}, "n": [1, 2]}', Given, ("/rows/*/id", "/n")
    )
    found.origins["said"] = Origin(b'{"one": true, "float": 1.0, "n": 1, "big": 1}', Given)
    found.origins["person"] = Origin(b'{"to": "anybody"}', Given, person=True)
    return found


@pytest.mark.parametrize(
    ("binding", "value", "trust", "bits"),
    [
        (ref("input:/id"), "7", Trust.TRUSTED, 0),
        (ref("input:/text"), "free", Trust.UNTRUSTED, 0),
        (ref("input:/flags/0"), True, Trust.ENDORSED, 1),
        (ref("search:/hits/1/id"), "b", Trust.TRUSTED, 0),
        (ref("search:/hits/1/t"), "y", Trust.UNTRUSTED, 0),
        (ref("search:/hits/1"), {"id": "b", "t": "y"}, Trust.UNTRUSTED, 0),
        (ref("judge:/pick"), "b", Trust.ENDORSED, 3),
        (ref("judge:/pick").map({"b": 1, "c": 2}), 1, Trust.ENDORSED, 1),
        (ref("judge:/other").map({"z": "Z"}), "Z", Trust.ENDORSED, 0),
        (ref("judge:/pick").among("search:/hits/*/id"), "b", Trust.ENDORSED, 1),
        (ref("judge:/other").among("search:/hits/*/id"), "z", Trust.UNTRUSTED, 0),
        (ref("search:/hits/0/t").among("search:/hits/*/t"), "x", Trust.UNTRUSTED, 0),
        (ref("say:/later").among("work/*/look:/hits/*/id"), "c", Trust.ENDORSED, 1),
        (ref("say:/one").among("work/*/look:/hits/*/id", "search:/hits/*/id"), "b",
         Trust.ENDORSED, math.log2(3)),
        (ref("say:/both").among("work/*/look:/hits/*/id", "search:/hits/*/id"), ["a", "c"],
         Trust.ENDORSED, 4),
        (ref("say:/both").among("search:/hits/*/id"), ["a", "c"], Trust.UNTRUSTED, 0),
        (ref("say:/worse").among("work/*/look:/hits/*/id", "search:/hits/*/id"), ["a", "z"],
         Trust.UNTRUSTED, 0),
        (ref("say:/none").among("search:/hits/*/id"), [], Trust.UNTRUSTED, 0),
        (ref("say:/one").among("nowhere/*/look:/hits/*/id"), "b", Trust.UNTRUSTED, 0),


        (ref("said:/n").among("map:/n/*"), 1, Trust.ENDORSED, 1),
        (ref("said:/one").among("map:/n/*"), True, Trust.UNTRUSTED, 0),
        (ref("said:/float").among("map:/n/*"), 1.0, Trust.UNTRUSTED, 0),
        (fixed("eve").among("map:/rows/*"), "eve", Trust.TRUSTED, 0),
        (ref("person:/to"), "anybody", Trust.ENDORSED, 0),
        (fixed("ours"), "ours", Trust.TRUSTED, 0),
        (made("{}{}".format, ref("input:/id"), fixed("!")), "7!", Trust.TRUSTED, 0),
        (made("{}{}".format, ref("input:/id"), ref("input:/text")), "7free", Trust.UNTRUSTED, 0),
        (made("{}{}".format, ref("judge:/pick"), ref("input:/flags/0")), "bTrue",
         Trust.ENDORSED, 4),
        (made("{}{}".format, ref("judge:/pick"), ref("judge:/pick")), "bb", Trust.ENDORSED, 3),
    ],
)  # fmt: skip
def test_a_binding_resolves_to_its_value_and_label(places, binding, value, trust, bits):
    found, label = binding.resolve(places)
    assert (found, label.trust) == (value, trust)
    assert sum(label.bits.values()) == pytest.approx(bits)


@pytest.mark.parametrize("place", ["id", "input", "/id", "input:id"])
def test_a_reference_that_names_no_place_is_refused_when_it_is_made(place):
    with pytest.raises(ValueError, match="a reference is"):
        ref(place)


@pytest.mark.parametrize(
    "place", ["later:/id", "input:/nothing", "search:/hits/9", "judge:/pick/x"]
)
def test_a_reference_to_what_is_not_there_says_so(places, place):
    with pytest.raises(ValueError, match="a reference to"):
        ref(place).resolve(places)


def test_what_was_said_once_is_not_counted_twice():
    found = Provenance()
    assert found.say({"judge:/pick": 3.0}, "a") == 3
    assert found.say({"judge:/pick": 1.0, "judge:/other": 2.0}, "b") == 5


def test_whoever_names_the_entries_of_a_map_makes_none_of_them_trusted(places):
    labels = {each["id"] if isinstance(each, dict) else each: of.trust
              for each, of in places.several("map:/rows/*")}  # fmt: skip
    assert labels == {"eve": Trust.UNTRUSTED, "ann": Trust.UNTRUSTED}


def test_one_text_that_chooses_in_two_sets_chooses_twice(places):
    text = ref("judge:/other")
    first = text.map({"z": 1, "y": 2})
    chosen = [first, first, text.map({"z": 3, "y": 4}), text.map({"z": 1, "y": 2})]

    said = [places.say(each.resolve(places)[1].bits, "") for each in chosen]

    assert said == [1, 1, 2, 2]


def test_a_model_that_chooses_at_two_places_chooses_twice(places):
    choice = among("search:/hits/*/id")
    chosen = [
        choice.of("a", "work/1:/to"),
        choice.of("a", "work/1:/cc"),
        choice.of("b", "work/2:/to"),
    ]

    said = [places.say(each.resolve(places)[1].bits, "") for each in chosen]

    assert said == [1, 2, 3]


def test_what_earlier_attempts_let_it_choose_counts_before_a_replay_comes_by():
    found = Provenance({"first": 3.0, "second": 2.0})
    assert found.say({"a:/x": 1.0}, "new") == 6
    assert found.say({"a:/y": 3.0}, "first") == 6
    assert found.say({}, "second") == 4


def test_a_name_with_a_slash_in_it_is_no_place_below():
    class Book(BaseModel):
        people: dict[str, Any]

    written = orjson.dumps({"people": {"known/eve": "eve", "known": "ann"}})
    provenance = Provenance()
    provenance.origins["book"] = Origin(written, Book, trusted=("/people/known",))

    trusts = {value: label.trust for value, label in provenance.several("book:/people/*")}

    assert trusts == {"eve": Trust.UNTRUSTED, "ann": Trust.TRUSTED}
