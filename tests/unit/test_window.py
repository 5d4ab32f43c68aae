"""What may enter a window, and that it never holds more than it may."""

import asyncio
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some
from pydantic import BaseModel, Field, RootModel
from pydantic_core import to_json

from models.run import StopReason
from tools.llm import Prompt
from tools.tool import Contract
from worker.agents.agent import Agent, Reply, Said, View, worded
from worker.agents.complaint import Advice, Complaint
from worker.agents.summary import Summary
from worker.agents.trail import Trail
from worker.agents.voice import Form
from worker.agents.window import Window
from worker.agents.withheld import Result, Sieve
from worker.labels.declared import schema_of
from worker.outcome import Stop

GOAL = "Find the shop."
LONG = "a" * 30
FORM = Form(Said, worded)


class Part(BaseModel, extra="allow"):
    text: str = ""


class Parts(RootModel[list[Part]]):
    pass


class Found(Contract):
    kind: Literal["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "b"] = "b"
    number: int = 0
    text: str | None = None
    parts: list[Part] = Field(default=[])
    pair: tuple[Part, str] | None = None
    names: dict[str, Part] = Field(default={})
    roots: Parts | None = None
    anything: Any = None


class Done(Contract):
    text: str = ""


def sifted(**fields: Any) -> Any:
    sieve = Sieve(leaf_chars=20, list_items=3)
    return sieve.result(Result(Found(**fields), "work/1/read")), list(sieve.places)


@pytest.mark.parametrize(
    ("fields", "at", "enters"),
    [
        ({"kind": LONG}, ["kind"], LONG),
        ({"number": 10**15}, ["number"], 10**15),
        ({"text": "a" * 20}, ["text"], "a" * 20),
        ({"text": LONG}, ["text"], None),
        ({"anything": [True, 1.5, None]}, ["anything", 1], 1.5),
        ({"anything": {"a": {"b": LONG}}}, ["anything", "a", "b"], None),
        ({"anything": 10**60}, ["anything"], None),
        ({"parts": [Part(text=LONG)]}, ["parts", 0, "text"], None),
        ({"pair": (Part(text="x"), LONG)}, ["pair", 1], None),
        ({"names": {"a": Part(text=LONG)}}, ["names", "a", "text"], None),
    ],
)
def test_a_leaf_enters_while_it_is_short_or_its_type_bounds_it(fields, at, enters):
    found, places = sifted(**fields)

    for part in at:
        found = found[part]

    if enters is None:
        assert found["withheld"]["place"] == f"work/1/read:/{'/'.join(map(str, at))}"
        assert places == [found["withheld"]["place"]]
    else:
        assert (found, places) == (enters, [])


def test_what_no_contract_declares_does_not_enter_however_deep_it_is():
    extra = Part.model_validate({"text": "x", "more": "y"})

    found, _ = sifted(
        parts=[extra], pair=(extra, "z"), names={"a": extra}, roots=Parts.model_validate([extra])
    )

    assert (found["parts"], found["pair"]) == ([{"text": "x"}], [{"text": "x"}, "z"])
    assert found["names"] == {"a": {"text": "x"}}
    assert found["roots"] == [{"text": "x"}]


def test_of_long_lists_and_maps_the_first_members_enter_and_no_long_name():
    found, places = sifted(anything=list(range(9)), names={LONG: Part()} | dict.fromkeys("abcd"
        , Part()))  # fmt: skip

    assert found["anything"][:3] == [0, 1, 2]
    assert found["anything"][3]["withheld"]["items"] == 6
    assert list(found["names"]) == ["a", "b", "c", "withheld"]
    assert places == ["work/1/read:/names", "work/1/read:/anything"]


def test_a_name_that_no_reference_could_find_has_no_place():
    found, places = sifted(names={"a:b": Part(text=LONG)})

    assert "place" not in found["names"]["a:b"]["text"]["withheld"]
    assert places == []


def test_a_prompt_is_counted_as_it_is_reserved():
    view = View("Say ü.", GOAL, [{"name": "x"}], schema_of(Done), [{"result": {"a": "ü" * 99}}], 3)
    prompt = Prompt(**FORM.talk(view).arguments("agent", None, 1))

    assert FORM.tokens(view) == prompt.most_tokens()


class Echo:
    """A model that sums up as much as it may, from what it was shown."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.trail: Trail = {}

    async def says(self, step: str, view: View, form: Form[Any], *_: Any) -> Any:
        assert form.tokens(view) <= self.most
        assert GOAL in form.worded(view)[0]
        line = str(view.history)[:300]
        return form.kind(done=[step], found=[line] * (view.summary_bytes // 450))


async def _never(_: View) -> Reply:
    raise AssertionError


class Wordy(Summary):
    # What is asked for a summary with it is more than what is asked in a turn.
    more: str = Field(default="", description="much to say of it " * 60)


AGENT = Agent("reader", "Read.", Done, _never, context_tokens=6_000, summarise_every=5)
WORDY = replace(AGENT, summary=Wordy, context_tokens=9_000)


def window(agent: Agent[Done] = AGENT) -> Window[Done]:
    tools = [{"name": "read", "arguments": {}}]
    voice: Any = Echo(agent.context_tokens)
    return Window("work", agent, GOAL, tools=tools, form=FORM, voice=voice)


def _strings(document: Any) -> list[str]:
    if isinstance(document, dict):
        return [each for pair in document.items() for part in pair for each in _strings(part)]
    if isinstance(document, list):
        return [each for part in document for each in _strings(part)]
    return [document] if isinstance(document, str) else []


TEXTS = some.one_of(some.text(max_size=40), some.integers(0, 3_000).map(lambda n: "ü\n" * n))
THINGS = some.recursive(
    some.none() | some.floats() | some.integers() | TEXTS,
    lambda below: some.lists(below, max_size=60) | some.dictionaries(TEXTS, below, max_size=60),
    max_leaves=30,
)
ENTRIES = some.lists(some.tuples(TEXTS, THINGS, some.booleans()), min_size=1, max_size=9)


LARGE, LARGER = (("a", ["ü" * many] * 2, False) for many in (150, 200))
"""Nearly as large as one entry may be."""


@settings(max_examples=40, deadline=None)
@given(some.sampled_from([AGENT, WORDY]), ENTRIES)
@example(AGENT, [LARGE] * 14)
@example(WORDY, [LARGER] * 14)
@example(AGENT, [("a", "b", True)] * 14)
def test_whatever_comes_the_goal_is_shown_and_no_more_than_fits(agent, entries):
    """Results, arguments and complaints, of any size and shape; a summary is always possible."""
    it = window(agent)

    async def go() -> None:
        for turn, (text, thing, fails) in enumerate(entries):
            called = {"tool": text[:200], "arguments": {text: thing}}
            if fails:
                it.told(called, [Complaint("unknown", Advice.RETRY, f"/{text}", thing)] * 5)
            else:
                it.came(called, Found(anything=thing, text=text), f"work/{turn}/read")
            view = await it.view(5)
            assert FORM.tokens(view) <= agent.context_tokens
            assert GOAL in worded(view)[0]
            assert max(map(len, _strings(view.history)), default=0) <= agent.leaf_chars
            assert len(view.history) <= agent.summarise_every + 1

    asyncio.run(go())


def test_which_question_it_is_does_not_depend_on_what_is_shown_of_the_history():
    one, two = window(), window(Agent("reader", "?", Done, _never, leaf_chars=5))

    for it in (one, two):
        assert it.put["history"]["entries"] == 0
        it.came({"tool": "read", "arguments": {}}, Found(text="a text"), "work/1/read")
        it.told({}, [Complaint("unknown", Advice.RETRY, "/call/arguments/place", it.places)])

    assert one.places != two.places, "what is allowed, a setting says"
    assert one.put == two.put
    two.told({}, [])
    assert one.put != two.put


def test_what_is_pinned_alone_may_fill_it_and_then_nothing_is_asked():
    with pytest.raises(Stop) as stop:
        window(Agent("reader", "Read." * 2_000, Done, _never, context_tokens=6_000))

    assert stop.value.reason is StopReason.TOKEN_BUDGET
    assert "offer fewer tools, or say less" in stop.value.detail


@pytest.mark.parametrize("name", ["context_tokens", "summarise_every", "leaf_chars", "list_items"])
def test_a_window_of_nothing_is_refused_where_its_agent_is_made(name):
    with pytest.raises(ValueError, match=f"{name} of agent reader is 1 or more"):
        replace(AGENT, **{name: 0})


@pytest.mark.parametrize(("size", "shows"), [(5, "xxxxx"), (600, "withheld"), (9_000, "withheld")])
def test_a_plan_is_one_entry_and_takes_no_more_than_one(size, shows):
    it = window(replace(AGENT, context_tokens=12_000))
    parts = [({"tool": "read"}, Result(Found(text="x" * size), f"work/1/{n}/read"))
             for n in range(3)]  # fmt: skip

    it.planned([*parts, ({"tool": "read", "made": False}, None)])
    (entry,) = asyncio.run(it.view(5)).history

    assert len(to_json([entry], indent=1)) < (12_000 - 2_000) / 4
    assert shows in str(entry)
    assert it.put["history"]["entries"] == 1


def test_a_plan_of_many_calls_fits_as_well():
    it = window()

    it.planned([({"tool": "read", "arguments": {"a": "b" * 300}}, None)] * 20)

    assert list(asyncio.run(it.view(5)).history[0]["plan"]) == ["withheld"]
