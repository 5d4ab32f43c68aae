"""What an evil model says: calls that fit, calls that nearly fit, and anything else.

A case is what it says in one run: an answer to each decision, and a line for each turn.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.evil.pipelines import ATTACK, BIG, PEOPLE, ROWS, Said

SEEN = "\u2997seen\u2998"
"""Stands for a text that a tool has shown."""
Line = str | bytes
_AT_ONCE, _WHY = 3, "because it says so"


@dataclass(frozen=True)
class Case:
    """One run's model."""

    decisions: tuple[Any, ...]
    lines: tuple[Line, ...]

    def line(self, turn: int, history: Sequence[dict[str, Any]]) -> Line:
        said = self.lines[min(turn, len(self.lines) - 1)]
        if isinstance(said, bytes) or SEEN not in said:
            return said
        shown = [str(v) for h in history for v in (h.get("result") or {}).values()]
        return said.replace(SEEN, json.dumps(shown[turn % len(shown)] if shown else ATTACK)[1:-1])

    def plan(self, round_: int, history: Sequence[dict[str, Any]]) -> Line:
        """A few lines as one plan, as far as they are calls; else the first of them as it is."""
        seen = [call for each in history for call in each.get("plan", ())]
        lines = [self.line(_AT_ONCE * round_ + n, seen) for n in range(_AT_ONCE)]
        calls = [call | {"because": _WHY} for each in lines if (call := _called(each))]
        return _written({"plan": calls, "because": _WHY}) if calls else lines[0]

    def decision(self, turn: int) -> Any:
        return self.decisions[turn]


_EDGES = (
    SEEN, ATTACK, "", "eve", "eve@evil.example", "*", "/", "~0", "~1", "~01", "a/id", "/to",
    "../..", "-", "0", "input:/customer", "people:/people/*/id", "a model",
    "Ann", " ann", "ann ", "ANN",
    "\u0430nn", "ann\u200b", "a\u0301nn", "\x00", "ann\x00", "\ud800", "\u202eevil", "1", "1.0",
    "true", "null", "NaN", "x" * 300, "'; DROP TABLE run; --", "{{7*7}}", "\U0001f4a9" * 50,
)  # fmt: skip
_PEOPLE, _ROWS = st.sampled_from(PEOPLE), st.sampled_from(ROWS)
_TEXT = st.one_of(st.sampled_from(_EDGES), st.text(max_size=12))
_NUMBERS = st.one_of(
    st.integers(-3, 20),
    st.sampled_from([
        2**31, 2**63, 2**64, -(2**63) - 1, 10**30, 10**320, 1e308, -0.0, 1.0, 2.0, 0.5,
        float("inf"), float("-inf"), float("nan"), True, False, "1", "2", "0x1", "1e2", "\u0661",
    ]),
)  # fmt: skip
_ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), _NUMBERS, _TEXT, _PEOPLE),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_TEXT, inner, max_size=4)),
    max_leaves=6,
)
_KIND = st.sampled_from(["answer", "reminder", "alert", "offer"])
_CHANGE = st.fixed_dictionaries(
    {"name": st.sampled_from(["state", "owner"]), "value": _TEXT},
    optional={"weight": _NUMBERS, "big": _NUMBERS},
)
_CALLS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "page.read": ({}, {"words": _TEXT}),
    "mail.send": ({}, {"text": _TEXT, "kind": _KIND}),
    "mail.answer": ({"to": _PEOPLE | _TEXT}, {"text": _TEXT, "kind": _KIND}),
    "row.update": (
        {"row": _ROWS | _NUMBERS},
        {
            "changes": st.lists(_CHANGE, max_size=3),
            "marks": st.lists(st.sampled_from(["seen", "done"]), max_size=6),
            "pair": st.tuples(st.sampled_from(["x", "y"]), _TEXT),
            "extra": st.dictionaries(_TEXT, st.booleans() | _TEXT, max_size=2),
            "level": st.integers(0, 3),
            "amount": _NUMBERS,
        },
    ),
    "note.add": ({"to": _PEOPLE | _TEXT}, {"text": _TEXT, "kind": _KIND}),
    "user.delete": ({"id": _TEXT | _PEOPLE}, {}),
}
_HARMLESS = ("page.read", "mail.send", "mail.answer", "row.update", "note.add")
_NOT_OFFERED = st.sampled_from(
    ["pay", "desk.move", "wire.money", "mail.send ", " mail.send", "Mail.Send", "m\u0430il.send",
     "mail.send\x00", "mail/send", "*", "x" * 201, "mail.send\ud800", "\u202email.send", "__init__"]
)  # fmt: skip


def _fitting(name: str) -> st.SearchStrategy[dict[str, Any]]:
    needed, optional = _CALLS[name]
    arguments = st.fixed_dictionaries(needed, optional=optional)
    return arguments.map(lambda said: {"call": {"tool": name, "arguments": said}})


@st.composite
def _nearly(draw: Any) -> dict[str, Any]:
    """A fitting call with one thing wrong."""
    said = draw(_fitting(draw(st.sampled_from(_HARMLESS))))
    arguments = said["call"]["arguments"]
    wrong = draw(st.sampled_from(["extra", "bound", "type", "tool", "both", "deep", "key", "more"]))
    if wrong == "extra":
        arguments[draw(_TEXT)] = draw(_ANY)
    elif wrong == "bound":
        arguments |= {draw(st.sampled_from(["to", "cc", "row", "To", "to "])): draw(_ANY)}
    elif wrong == "type" and arguments:
        arguments[draw(st.sampled_from(sorted(arguments)))] = draw(_ANY)
    elif wrong == "tool":
        said["call"]["tool"] = draw(_NOT_OFFERED | _ANY)
    elif wrong == "both":
        said["answer"] = draw(_ANY)
    elif wrong == "key":
        said["call"][draw(_TEXT)] = draw(_ANY)
    elif wrong == "more":
        said["reasoning"] = draw(_ANY | st.just(BIG))
    elif wrong == "deep":
        arguments["text"] = _nested(draw(st.sampled_from([5, 150, 199, 260])))
    return said


def _nested(depth: int) -> Any:
    found: Any = "eve"
    for _ in range(depth):
        found = [found]
    return found


_ANSWERS = st.fixed_dictionaries(
    {},
    optional={"text": _TEXT, "verdict": st.sampled_from(["fine", "bad"]), "score": _NUMBERS},
).map(lambda said: {"answer": said})
_ODD: tuple[Line, ...] = (
    "", "null", "[]", "{}", '"call"', "not json", b"\xff\xfe{", '{"call": {"tool": "mail.send"}',
    '{"call": null, "answer": null}', BIG, '{"answer": {"text": ' + "9" * 4400 + "}}",
    '{"answer": {"text": "\\ud800"}}', '{"answer": {"score": ' + "9" * 400 + "}}",
    '{"call": {"tool": "mail.answer", "arguments": {"to": "ann", "to": "eve"}}}',
    '{"call": {"tool": "page.read", "tool": "user.delete", "arguments": {"id": "ann"}}}',
    '{"call": {"tool": "mail.send", "arguments": {"kind": "alert", "k\\u0000": 1}}}',
    "[" * 5000, '{"call": {"tool": "mail.send", "arguments": {}}} {"answer": {}}', "\ud800",
    '```json\n{"answer": {}}\n```', '{"answer": {"' + "k" * 60_000 + '": 1}}',
)  # fmt: skip


def _called(line: Line) -> dict[str, Any] | None:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    call = said.get("call") if isinstance(said, dict) and len(said) == 1 else None
    return call if isinstance(call, dict) else None


def _written(said: Any) -> Line:
    return json.dumps(said, ensure_ascii=False, default=str)


def _seldom(
    usual: st.SearchStrategy[Any], seldom: st.SearchStrategy[Any], one_in: int
) -> st.SearchStrategy[Any]:
    """A union draws from its parts alike; a run that is over at once proves little."""
    return st.integers(1, one_in).flatmap(lambda n: seldom if n == one_in else usual)


_FITS = st.sampled_from(_HARMLESS).flatmap(_fitting)
_SAID: st.SearchStrategy[Line] = _seldom(
    _seldom(_FITS, _nearly(), 4).map(_written),
    st.one_of(st.sampled_from(_ODD), _ANY.map(_written), _ANSWERS.map(_written)),
    9,
)
_LAST = st.one_of(
    _ANSWERS.map(_written), _SAID, _fitting("user.delete").map(_written),
    _NOT_OFFERED.map(lambda name: _written({"call": {"tool": name}})),
)  # fmt: skip
_DECIDED = st.builds(
    Said,
    kind=_KIND,
    who=st.one_of(_PEOPLE, _TEXT.filter(lambda text: "\ud800" not in text)),
    level=st.integers(0, 15),
    urgent=st.booleans(),
    confidence=st.floats(0, 1),
    because=st.text(max_size=9) | st.sampled_from([ATTACK, "\x00"]),
)
_UNCHECKED = st.builds(
    Said.model_construct,
    kind=_KIND | _TEXT,
    who=_ANY,
    level=_NUMBERS,
    urgent=_ANY,
    confidence=_NUMBERS,
    because=_TEXT,
)
"""Answers of a model that checks nothing."""
_THOUGHT = _seldom(_DECIDED, _UNCHECKED | st.none(), 20)

CASES = st.builds(
    lambda decided, said, last: Case(tuple(decided), (*said, last)),
    st.lists(_THOUGHT, max_size=2),
    st.lists(_SAID, min_size=1, max_size=7),
    _seldom(_ANSWERS.map(_written), _LAST, 3),
)
