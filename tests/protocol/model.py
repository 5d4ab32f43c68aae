"""The model: its scenarios, and what may happen in them."""

from tests.protocol import admission, call, doubt, gate, late, lease, promises, target
from tests.protocol.explorer import Model
from tests.protocol.rules import Effect, Moves, Rules, Scenario
from tests.protocol.state import Run, State, Status

SCENARIOS = {
    each.name: each
    for each in (
        Scenario(
            "duplicates",
            "a request that comes twice, bells doubled and lost",
            Effect.WRITE,
            faults=1,
            duplicates=True,
        ),
        Scenario("read", "a read", Effect.READ, faults=4),
        Scenario(
            "write",
            "a WRITE, whose target knows our key for a time",
            Effect.WRITE,
            faults=2,
            key_expires=True,
        ),
        Scenario(
            "look-up",
            "a WRITE_ONCE whose target can be asked what became of it",
            Effect.WRITE_ONCE,
            faults=2,
            lookup=True,
        ),
        Scenario(
            "person", "a WRITE_ONCE of which only a person can tell", Effect.WRITE_ONCE, faults=2
        ),
        Scenario(
            "gate",
            "a WRITE that can be looked up too, and an operator who shuts the gate twice",
            Effect.WRITE,
            faults=1,
            lookup=True,
            flips=2,
        ),
        Scenario(
            "gate-look-up",
            "a WRITE_ONCE that can be looked up, and an operator who shuts the gate twice",
            Effect.WRITE_ONCE,
            faults=1,
            lookup=True,
            flips=2,
        ),
    )
}


def model(scenario: Scenario, without: frozenset[str] = frozenset()) -> Model[State]:
    """One scenario, less these guards."""
    rules = Rules(scenario, without)
    initial = State(faults=scenario.faults, flips=scenario.flips)
    if scenario.duplicates:
        new = (admission.NEW,) * len(admission.CLIENTS)
        initial = initial._replace(run=Run(Status.ABSENT), requests=new, runs=0)

    def moves(state: State) -> Moves:
        return [
            move._replace(after=move.after.tidied())
            for part in (admission, lease, call, late, doubt, gate, target)
            for move in part.moves(rules, state)
        ]

    return Model(
        initial,
        moves,
        promises.always(rules),
        promises.between(),
        over=lambda state: state.run.status is Status.FINISHED,
        comes_to_an_end=promises.ENDS,
    )
