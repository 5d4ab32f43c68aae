"""Every promise holds in every state that can be reached, and each guard is needed for one."""

import dataclasses
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from tests.protocol import promises
from tests.protocol.__main__ import main
from tests.protocol.explorer import Counterexample, Endless, Exploration, Explorer, Model, Move
from tests.protocol.guards import GUARDS
from tests.protocol.model import SCENARIOS, model
from tests.protocol.state import Gate, Mark, Phase, State, Status
from tests.protocol.story import told

STATES_AT_LEAST = {
    "duplicates": 4_000,
    "read": 2_500,
    "write": 20_000,
    "look-up": 12_000,
    "person": 10_000,
    "gate": 35_000,
    "gate-look-up": 25_000,
}
HAPPENS = """
    is admitted · gets the first run back · is heard · is lost · is doubled
    claims the run · claims the run and does not hear of it · adopts the run
    finds nothing to adopt · renews its lease · hears that it has lost the run
    falls silent · dies · leaves the run behind, its database is away · runs out
    puts the run back · ends the run, it crashed too often
    reads the record · reads at the target · commits its intent
    is refused its intent: GateShut · is refused its intent: LostLease
    is refused its intent: Overtaken · sends its request · is too late to send
    hears the answer · waits in vain for an answer · loses its connection · stays in doubt
    writes settled · writes rejected · writes released
    finds another outcome: Overtaken · is refused its outcome: LostLease
    testifies: settled · testifies: rejected · testifies: released · testifies in vain
    finishes the run · is refused its departure
    looks it up and finds it · looks it up: absent · looks it up and learns nothing
    finds it too early to ask · snoozes the run · has a question · parks the run and asks
    has nothing left to ask · says that it happened · says that it did not happen · gives it up
    locks the gate · shuts the gate · is told STOPPED · is told DRAINED · opens the gate
    begins its intent · parks the run at the gate · lets the run back in line
    takes effect · changes nothing more · is refused · is turned away · forgets our key
    commits its intent, asked twice · writes settled, asked twice · writes rejected, asked twice
    writes released, asked twice · writes reserved · changes nothing
    send_before passes · is travelling no more · can be seen by a look-up
"""


CASES = [(name, *case) for name, guard in GUARDS.items() for case in guard.cases]
DOCUMENT = Path(__file__).parents[2] / "docs" / "protocol.md"


@cache
def explored(scenario: str) -> Exploration[State]:
    return Explorer(model(SCENARIOS[scenario])).explore()


@cache
def broken(name: str, promise: str, scenario: str) -> Counterexample[State] | None:
    """The shortest way to break a promise without this guard."""
    unguarded = model(SCENARIOS[scenario], frozenset({name}))
    return Explorer(unguarded, only=promise).explore().found


def first(scenario: str, happens: Callable[[State, State], bool]) -> State:
    """The state before the first step in which this happens."""
    it = "never"
    watched = dataclasses.replace(
        model(SCENARIOS[scenario]), between={it: lambda a, b: not happens(a, b)}
    )
    found = Explorer(watched, only=it).explore().found
    assert found is not None, "it never happens"
    return found.path[-2][1]


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_promise_holds_in_every_state(name):
    exploration = explored(name)

    assert exploration.found is None, told(exploration.found)
    assert exploration.states > STATES_AT_LEAST[name]


def test_all_that_may_happen_does():
    listed = {each.strip() for line in HAPPENS.strip().splitlines() for each in line.split("·")}

    seen = {does for name in SCENARIOS for does in explored(name).seen}

    assert seen == listed


def test_every_promise_is_broken_without_some_guard():
    assert {promise for _, promise, _ in CASES} == set(promises.EVERY)


@pytest.mark.parametrize(("name", "promise", "scenario"), CASES)
def test_without_the_guard_a_promise_is_broken(name, promise, scenario):
    unguarded = model(SCENARIOS[scenario], frozenset({name}))

    found = broken(name, promise, scenario)

    assert found is not None
    assert found.broken == promise
    for (_, before), (move, after) in pairwise(found.path):
        assert move is not None
        assert after in {each.after for each in unguarded.moves(before)}, "a step that is none"


def test_the_document_tells_of_every_scenario_and_every_guard():
    rows = [
        f"| {it.about} | {it.faults} | {seen.states:,} | {seen.transitions:,} |"
        for it, seen in ((each, explored(name)) for name, each in SCENARIOS.items())
    ]
    for name, guard in GUARDS.items():
        ways = [broken(name, *case) for case in guard.cases]
        steps = ", ".join(str(len(way.path) - 1) for way in ways if way is not None)
        rows.append(f"| `{name}` | {'; '.join(each for each, _ in guard.cases)} | {steps} |")

    told = set(DOCUMENT.read_text().splitlines())

    assert [row for row in rows if row not in told] == []


def test_stopped_waits_for_no_deadline_when_the_only_try_is_over():
    first(
        "gate",
        lambda a, b: (
            (a.gate, b.gate) == (Gate.SHUT, Gate.STOPPED)
            and a.entry.mark is Mark.RELEASED
            and a.phase() is Phase.OPEN
        ),
    )


def test_a_write_in_doubt_is_looked_up_and_closed_while_the_gate_is_shut():
    first(
        "gate-look-up",
        lambda a, b: a.gate is Gate.DRAINED and b.entry.result == "sighting" != a.entry.result,
    )


def test_what_a_look_up_does_not_find_waits_for_the_gate_and_stays_listed():
    walked = model(SCENARIOS["gate-look-up"])
    here = first(
        "gate-look-up",
        lambda a, _: a.gate is Gate.DRAINED and any(each.knows == "absent" for each in a.workers),
    )

    for does in (
        "begins its intent",
        "is refused its intent: GateShut",
        "parks the run at the gate",
    ):
        here = next(each.after for each in walked.moves(here) if each.does == does)

    assert here.run.status is Status.AT_GATE
    assert (here.entry.mark, here.listed) == (Mark.RESERVED, True)


def test_a_counterexample_is_told_in_numbered_lines(capsys):
    assert main(["--without", "gate"]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split()[:4] == ["1", "w1", "claims", "the"]
    assert f"broken: {promises.GATED}" in lines[-4]


def _counting(limit: int, *, ends: bool) -> Model[int]:
    """Counts up by one or, with a fault, by two."""

    def moves(number: int) -> list[Move[int]]:
        up = [Move("it", "counts", number + 1), Move("it", "jumps", number + 2, fault=True)]
        return [each for each in up if each.after <= limit]

    return Model(
        0,
        moves,
        always={"below five": lambda number: number < 5},
        between={},
        over=lambda number: ends and number == limit,
        comes_to_an_end="ends",
    )


def test_the_first_counterexample_is_a_shortest_one():
    found = Explorer(_counting(9, ends=True)).explore().found

    assert found is not None
    assert [state for _, state in found.path] in ([0, 1, 3, 5], [0, 2, 3, 5], [0, 2, 4, 5])


def test_a_state_from_which_nothing_leads_to_the_end_is_found():
    assert Explorer(_counting(4, ends=True)).explore().found is None

    found = Explorer(_counting(4, ends=False)).explore().found

    assert found is not None
    assert found.broken == "ends"


def test_a_model_that_goes_on_for_ever_is_told():
    with pytest.raises(Endless):
        Explorer(_counting(10**6, ends=True), only="ends", at_most=1000).explore()
